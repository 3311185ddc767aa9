// Package file is a source of backends: a list in a file, which is read again when it changes.
package file

// Config says which file it is.
type Config struct {
	Path string // absolute
}

// Key returns what tells this source from others.
func (c *Config) Key() string { return "file " + c.Path }
