package probe

import (
	"fmt"
	"os"
	"testing"
)

// passwordFile holds the password of the roles of these tests.
var passwordFile string

func TestMain(m *testing.M) {
	file, err := os.CreateTemp("", "sluice-probe-password-")
	if err == nil {
		passwordFile = file.Name()
		_, err = fmt.Fprintln(file, password)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	code := m.Run()
	_ = os.Remove(passwordFile)
	removeMariaDB()
	os.Exit(code)
}
