package configs

import (
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
)

// path returns where a file is that a value names: relative names count from the folder of the configuration's file that
// says so.
func (d *decoder) path(v value, name string) string {
	if filepath.IsAbs(name) {
		return name
	}
	return filepath.Join(filepath.Dir(d.place(v.node).file), name)
}

// absolute is path for a file that is read later on.
func (d *decoder) absolute(v value, name string) string {
	path := d.path(v, name)
	if absolute, err := filepath.Abs(path); err == nil {
		return absolute
	}
	return path
}

// sideFiles are the files that were read: thousands of pools may name the same.
type sideFiles struct {
	tried    map[[2]string]error // by what they are for, and path
	networks map[string]networkCount
}

type networkCount struct {
	networks int
	errs     []error
}

// tryFile reads a file to see whether that is possible, once for what it is for.
func (d *decoder) tryFile(what, path string, read func() error) error {
	if d.offline {
		return nil
	}
	err, tried := d.sideFiles.tried[[2]string{what, path}]
	if !tried {
		err = read()
		remember(&d.sideFiles.tried, [2]string{what, path}, err)
	}
	return err
}

// readNetworks counts the networks that a file holds, once.
func (d *decoder) readNetworks(path string) (count int, errs []error) {
	if d.offline {
		return 1, nil // so that allow lets somebody in
	}
	read, ok := d.sideFiles.networks[path]
	if !ok {
		var networks []netip.Prefix
		networks, read.errs = readNetworks(path)
		read.networks = len(networks)
		remember(&d.sideFiles.networks, path, read)
	}
	return read.networks, read.errs
}

func remember[K comparable, V any](in *map[K]V, key K, v V) {
	if *in == nil {
		*in = make(map[K]V)
	}
	(*in)[key] = v
}

// readSideFile reads a plain file. Others may have no end, such as devices, or no beginning, such as pipes that nobody
// writes to, which cannot even be opened. It must not have more than most bytes, whole MiB. The error names the file.
func readSideFile(path string, most int64) ([]byte, error) {
	info, err := os.Stat(path)
	if err == nil && !info.Mode().IsRegular() {
		return nil, fmt.Errorf("%q is not a plain file", path)
	}
	var data []byte
	if err == nil {
		data, err = readFile(path, most)
	}
	switch {
	case err != nil:
		return nil, fmt.Errorf("read %q: %w", path, withoutPath(err))
	case int64(len(data)) > most:
		return nil, fmt.Errorf("%q is larger than %d MiB", path, most>>20)
	}
	return data, nil
}
