package configs

import (
	"fmt"
	"os"
	"path/filepath"
)

// path returns where a file is that the configuration names: relative names count from the configuration's own folder.
func (d *decoder) path(name string) string {
	if filepath.IsAbs(name) {
		return name
	}
	return filepath.Join(filepath.Dir(d.file), name)
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
