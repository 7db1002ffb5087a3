package chaos

import "testing"

// Nothing breaks, and the oracle agrees: otherwise it would prove nothing when
// something does.
func TestUndisturbed(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.relay()
	r.serve()
	r.wave(60)
	r.quiescent()
	r.oracle()
}
