package capture

// Durability is what has happened to a row when its call's answer is let go. Each
// transaction of the recorder says it to Postgres, whatever its role or database
// has set.
type Durability string

const (
	// Durable rows are on the disk of the primary, and on that of a synchronous
	// standby where there is one: synchronous_commit = on. They outlive a crash of
	// the server and of its machine.
	Durable Durability = "durable"

	// Replicated rows have also been replayed by the synchronous standby:
	// synchronous_commit = remote_apply. Whoever reads there, and whoever is promoted,
	// has the call from the moment of its answer. It needs synchronous_standby_names:
	// without them Postgres waits for nobody, says nothing, and the row is Durable. A
	// standby that is away or held up by a query holds up the answers, Config.Wait at
	// most, and their calls are late.
	//
	// remote_write is not it: it waits for the standby's memory instead of its disk,
	// and so promises less than Durable.
	Replicated Durability = "replicated"

	// Relaxed rows are committed, but not on disk yet: synchronous_commit = off. A
	// crash of Postgres loses those of its last moments (three times wal_writer_delay,
	// 0.6 s by default), and they were counted as captured: nobody is told.
	Relaxed Durability = "relaxed"
)

// commitMode is the value of synchronous_commit; "" for no durability.
func (d Durability) commitMode() string {
	switch d {
	case Durable:
		return "on"
	case Replicated:
		return "remote_apply"
	case Relaxed:
		return "off"
	default:
		return ""
	}
}
