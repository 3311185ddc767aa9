package e2e

import (
	"crypto/aes"
	"crypto/cipher"
)

// noise is data that looks random, is the same for the same seed, and is made faster than it can be sent. It does not
// end.
type noise struct{ stream cipher.Stream }

func newNoise(seed byte) noise {
	block, err := aes.NewCipher([]byte{15: seed})
	if err != nil {
		panic(err) // the key's size is right
	}
	return noise{cipher.NewCTR(block, make([]byte, aes.BlockSize))}
}

func (n noise) Read(p []byte) (int, error) {
	clear(p)
	n.stream.XORKeyStream(p, p)
	return len(p), nil
}
