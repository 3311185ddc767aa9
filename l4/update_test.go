package l4

// update puts listeners in force.
func (r *rig) update(listeners ...ListenerConfig) {
	r.t.Helper()
	p, err := r.srv.Prepare(Update{Listeners: listeners})
	if err != nil {
		r.t.Fatal(err)
	}
	r.while("commit", func() error {
		p.Commit()
		return nil
	})
}
