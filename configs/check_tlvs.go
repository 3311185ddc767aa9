package configs

import (
	"slices"
	"strings"

	"sluice/l4"
)

// readTLVs reads what is added to the PROXY header.
func readTLVs(d *decoder, v value, to *poolDraft) {
	words := l4.TLVWords()
	for _, item := range d.items(v, "a list of "+strings.Join(words, ", ")) {
		word, ok := d.oneOf(item, words)
		if !ok {
			continue
		}
		var t l4.TLV
		switch err := t.UnmarshalText([]byte(word)); {
		case err != nil: // as in word
			d.reportAt(item, "%v", err)
		case slices.Contains(to.TLVs, t):
			d.reportAt(item, "tlvs has %v twice: remove one of them", t)
		default:
			to.TLVs = append(to.TLVs, t)
		}
	}
}

// finishTLVs refuses TLVs for a header that cannot have any.
func (p *poolDraft) finishTLVs(d *decoder) {
	v, ok := p.given["tlvs"]
	if ok && !p.bad["send_proxy"] && p.SendProxy != l4.ProxyV2 {
		d.report(v.at, "tlvs need a header of version 2, and send_proxy is %v: write send_proxy: v2, or remove them",
			p.SendProxy)
	}
}
