package ofb

// queue gives back copies in the order in which they are due, and those of one
// instant in the order in which they came. It is a binary heap without boxing.
type queue struct {
	heap []errand
	seq  uint64
}

type errand struct {
	due     int64
	seq     uint64
	arrival int32
}

func (a errand) before(b errand) bool {
	return a.due < b.due || a.due == b.due && a.seq < b.seq
}

func (q *queue) push(due int64, arrival int32) {
	q.seq++
	q.heap = append(q.heap, errand{due: due, seq: q.seq, arrival: arrival})
	for i := len(q.heap) - 1; i > 0; {
		parent := (i - 1) / 2
		if !q.heap[i].before(q.heap[parent]) {
			return
		}
		q.heap[i], q.heap[parent] = q.heap[parent], q.heap[i]
		i = parent
	}
}

// next is when the first errand is due.
func (q *queue) next() (due int64, ok bool) {
	if len(q.heap) == 0 {
		return 0, false
	}
	return q.heap[0].due, true
}

func (q *queue) pop() errand {
	first, last := q.heap[0], len(q.heap)-1
	q.heap[0] = q.heap[last]
	q.heap = q.heap[:last]
	for i := 0; ; {
		child := 2*i + 1
		if child >= last {
			return first
		}
		if child+1 < last && q.heap[child+1].before(q.heap[child]) {
			child++
		}
		if !q.heap[child].before(q.heap[i]) {
			return first
		}
		q.heap[i], q.heap[child] = q.heap[child], q.heap[i]
		i = child
	}
}
