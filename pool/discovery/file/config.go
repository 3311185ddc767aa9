// Package file is a source of backends: a list in a file, which is read again when it changes.
//
// Its folder is watched too, so that it may be written in place, renamed into its place, or be a symbolic link
// that is put on another file, as Kubernetes does it with a ConfigMap. All folders on the way are watched, so any of them
// may be replaced, or appear later. Where the kernel tells nothing, as of a network file system, the file is looked at every
// few seconds.
package file

// MaxSize is how much of a file is read. It is beyond thirty thousand backends with everything that can be said of each.
const MaxSize = 4 << 20

// Config says which file it is.
type Config struct {
	Path string // absolute
}

// Key returns what tells this source from others.
func (c *Config) Key() string { return "file " + c.Path }
