package tlshello

import (
	"bytes"
	"io"
	"testing"

	"sluice/l4/tlshello/hellotest"
)

// errorOf is what is wrong with a hello, by what its client is told of it.
var errorOf = map[byte]error{0: ErrNotTLS, 10: ErrNoHello, 22: ErrRecordTooLarge, 50: ErrMalformed, 80: ErrHelloTooLarge}

func TestBadHellos(t *testing.T) {
	for name, bad := range hellotest.Bad {
		by, want := bad.By, errorOf[bad.Alert]
		if by == 0 {
			by = len(bad.Data)
		}
		var r Reader
		for n := range by {
			if _, size, err := r.Read(bad.Data[:n]); err != io.ErrUnexpectedEOF || size <= n || size > MaxHello {
				t.Errorf("%s: size %d, %v after %d bytes; want %v after %d", name, size, err, n, want, by)
				break
			}
		}
		for _, data := range [][]byte{bad.Data[:by], bad.Data, append(bytes.Clone(bad.Data), "and more"...)} {
			if hello, size, err := parseHello(data); err != want || size != 0 || hello != (Hello{}) {
				t.Errorf("%s: %+v, size %d, %v; want %v", name, hello, size, err, want)
			}
		}
		if want == ErrMalformed {
			checkBadFraming(t, name, bad.Data)
		}
	}
}

// checkBadFraming checks that a malformed message is one in any records.
func checkBadFraming(t *testing.T, name string, data []byte) {
	t.Helper()
	message := hellotest.Unframed(data)
	for cut := 1; cut < min(len(message), 500); cut++ {
		if _, _, err := parseHello(hellotest.InRecords(message, cut)); err != ErrMalformed {
			t.Errorf("%s: %v with a first record of %d bytes, want %v", name, err, cut, ErrMalformed)
		}
	}
}

// Every beginning of a valid hello, as if it were all, is malformed: no length in it may be taken for less.
func TestCutHellos(t *testing.T) {
	body := hellotest.Valid[handshakeHead:]
	for n := range len(body) {
		_, _, err := parseHello(hellotest.InRecords(hellotest.Handshake(1, body[:n])))
		if withoutExtensions := n == len(hellotest.Fields); (err == nil) != withoutExtensions || err != nil && err != ErrMalformed {
			t.Errorf("%d of %d bytes: %v", n, len(body), err)
		}
	}
}
