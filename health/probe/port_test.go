package probe

import (
	"testing"

	"sluice/sysutil/systest"
)

// freePorts is systest.ReservePort for n of them.
func freePorts(t *testing.T, n int) []uint16 {
	t.Helper()
	ports := make([]uint16, n)
	for i := range ports {
		ports[i] = uint16(systest.ReservePort(t))
	}
	return ports
}
