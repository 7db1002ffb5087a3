package capture

import "sync"

// buffers lends the memory of held writes.
type buffers struct{ pool sync.Pool }

func (w *response) hold() {
	if w.buffer != nil {
		return
	}
	if w.buffer, _ = w.x.rec.buffers.pool.Get().(*[]byte); w.buffer == nil {
		w.buffer = new([]byte)
	}
	w.held = (*w.buffer)[:0]
}

// drop ends the holding and gives the memory back.
func (w *response) drop() {
	w.passing = true
	if w.buffer != nil {
		*w.buffer = w.held[:0]
		w.x.rec.buffers.pool.Put(w.buffer)
		w.buffer, w.held = nil, nil
	}
}
