package probe

import (
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/subtle"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
)

// The ways to show who one is that servers have by default.
const (
	mysqlNative = "mysql_native_password" // of MariaDB, and MySQL up to 5.7
	mysqlSHA2   = "caching_sha2_password" // of MySQL since 8.0
)

// mysqlKeyMost bounds the bits of a server's RSA key: the work grows with their third power.
const mysqlKeyMost = 8 << 10

// authenticate answers the greeting and what the server wants to know beyond that. Over a private connection a password
// may be sent as it is.
func (c *mysqlConn) authenticate(g greeting, s mysqlSettings, opening []byte, private bool) error {
	plugin, challenge := g.plugin, g.challenge
	if plugin != mysqlSHA2 {
		plugin = mysqlNative // the server asks again if it wants something else
	}
	if err := c.wire.write(g.respond(opening, s.user, plugin, answerTo(plugin, challenge, s.password))); err != nil {
		return err
	}
	for rounds := 0; rounds < 4; rounds++ {
		payload, err := c.wire.read()
		switch {
		case err != nil:
			return err
		case payload[0] == mysqlOK:
			return nil
		case payload[0] == mysqlEOF:
			if plugin, challenge, err = otherWay(payload); err == nil {
				err = c.wire.write(answerTo(plugin, challenge, s.password))
			} else { // a wrong answer is better than none, see decline; this long it is for ed25519
				err = c.awaitDenial(c.wire.write(make([]byte, 64)), err)
			}
		case payload[0] == mysqlMoreAuth && plugin == mysqlSHA2 && len(payload) == 2:
			err = c.fullSHA2(payload[1], challenge, s.password, private)
		default:
			err = errOddPacket
		}
		if err != nil {
			return err
		}
	}
	return errOddPacket
}

// otherWay reads the server's wish that the user should show who he is in another way.
func otherWay(payload []byte) (plugin string, challenge []byte, err error) {
	c := cursor{rest: payload[1:]}
	plugin = c.terminated()
	if plugin != mysqlNative && plugin != mysqlSHA2 {
		if plugin == "" {
			plugin = "mysql_old_password"
		}
		return "", nil, fmt.Errorf("the server wants %s: give the user %s or %s", oneLine(plugin), mysqlNative, mysqlSHA2)
	}
	if challenge = c.take(20); c.short {
		return "", nil, errOddPacket
	}
	return plugin, challenge, nil
}

// answerTo shows that one knows the password, without saying it. Without one there is nothing to show.
func answerTo(plugin string, challenge []byte, password string) []byte {
	if password == "" {
		return nil
	}
	if plugin == mysqlSHA2 {
		once := sha256.Sum256([]byte(password))
		twice := sha256.Sum256(once[:])
		mixed := sha256.Sum256(append(twice[:], challenge...))
		subtle.XORBytes(mixed[:], mixed[:], once[:])
		return mixed[:]
	}
	once := sha1.Sum([]byte(password))
	twice := sha1.Sum(once[:])
	mixed := sha1.Sum(append(append([]byte(nil), challenge...), twice[:]...))
	subtle.XORBytes(mixed[:], mixed[:], once[:])
	return mixed[:]
}

// fullSHA2 goes on with caching_sha2_password: the server knows the user (3), or needs the password itself for once (4),
// which is sent in clear where nobody can listen, and encrypted with the server's key elsewhere.
func (c *mysqlConn) fullSHA2(state byte, challenge []byte, password string, private bool) error {
	switch {
	case state == 3:
		return nil // its consent follows
	case state != 4:
		return errOddPacket
	case private:
		return c.wire.write(append([]byte(password), 0))
	}
	if err := c.wire.write([]byte{2}); err != nil { // asks for the key
		return err
	}
	payload, err := c.wire.read()
	if err != nil {
		return err
	}
	encrypted, err := encryptPassword(payload[1:], challenge, password)
	if err != nil {
		return err
	}
	return c.wire.write(encrypted)
}

func encryptPassword(key, challenge []byte, password string) ([]byte, error) {
	block, _ := pem.Decode(key)
	if block == nil {
		return nil, errors.New("the server's public key is not in PEM form")
	}
	parsed, err := x509.ParsePKIXPublicKey(block.Bytes)
	if err != nil {
		return nil, fmt.Errorf("read the server's public key: %w", err)
	}
	public, ok := parsed.(*rsa.PublicKey)
	if !ok || public.N.BitLen() > mysqlKeyMost {
		return nil, errors.New("the server's public key is not of RSA, or too long")
	}
	secret := append([]byte(password), 0)
	for i := range secret {
		secret[i] ^= challenge[i%len(challenge)]
	}
	return rsa.EncryptOAEP(sha1.New(), rand.Reader, public, secret, nil)
}
