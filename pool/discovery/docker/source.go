package docker

import (
	"context"

	"sluice/pool/discovery"
)

// New returns the source that a configuration describes.
func New(c Config) discovery.Source { return source{c} }

type source struct{ Config }

func (s source) Key() string { return s.Config.Key() }

func (s source) Ask(ctx context.Context) ([]discovery.Found, error) {
	all, err := List(ctx, s.Socket)
	if err != nil {
		return nil, err
	}
	found, warnings := s.Found(all)
	if len(warnings) > 0 {
		return found, discovery.Warnings(warnings)
	}
	return found, nil
}

func (s source) Run(ctx context.Context, report func(discovery.Report)) {
	Follow(ctx, s.Socket, func(now State) {
		r := discovery.Report{Err: now.Err, Next: now.Next}
		if r.Err == nil {
			r.Found, r.Warnings = s.Found(now.Containers)
		}
		report(r)
	})
}
