package l4

import "sluice/l4/proxyheader/headertest"

// The headers of the tests, by short names: very many tests have some.
const (
	signature     = headertest.Signature
	commandLocal  = headertest.CommandLocal
	commandProxy  = headertest.CommandProxy
	familyUnspec  = headertest.FamilyUnspec
	familyTCP4    = headertest.FamilyTCP4
	familyTCP6    = headertest.FamilyTCP6
	familyUnix    = headertest.FamilyUnix
	typeALPN      = headertest.TypeALPN
	typeAuthority = headertest.TypeAuthority
	typeChecksum  = headertest.TypeChecksum
	typeUniqueID  = headertest.TypeUniqueID
	typeCustom    = headertest.TypeCustom
	lineTCP4      = headertest.LineTCP4
	lineTCP6      = headertest.LineTCP6
	lineUnknown   = headertest.LineUnknown
)

var (
	source4      = headertest.Source4
	destination4 = headertest.Destination4
	source6      = headertest.Source6
	addresses4   = headertest.Addresses4
	addresses6   = headertest.Addresses6
	pathsUnix    = headertest.PathsUnix
	addressBlock = headertest.AddressBlock
	mapped       = headertest.Mapped
	addressesOf  = headertest.Ends

	v2     = headertest.V2
	field  = headertest.Field
	summed = headertest.Summed

	validHeaders   = headertest.Valid
	invalidHeaders = headertest.Bad
)
