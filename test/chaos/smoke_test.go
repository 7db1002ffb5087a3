package chaos

import "testing"

// Nothing breaks, and the oracle agrees: otherwise it would prove nothing when
// something does. And it is the same by whatever way events reach the streams.
func TestUndisturbed(t *testing.T) {
	t.Parallel()
	for name, transport := range map[string]func(r *rig){
		"by the relay":         func(r *rig) { r.relay() },
		"by the sweeper alone": func(r *rig) { r.loseSlot() },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t, sweepsAtOnce)
			transport(r)
			r.serve()
			r.wave(60)
			r.quiescent()
			r.oracle()
		})
	}
}
