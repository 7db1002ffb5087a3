package transport

import "slices"

// Role is one identity of the NATS account, and all it may do there.
type Role struct {
	Name     string
	Password bool // known by a password, for a program that can do nothing else
	Publish  []string
	Inbox    string // the prefix of the subjects it may listen to; empty: to nothing
}

// Roles of the account. A worker cannot forge, purge, delete or reshape; whoever
// publishes cannot read; whoever makes streams can neither.
const (
	RoleSequin       = "sequin"
	RoleRelay        = "relay"
	RoleBridge       = "bridge"
	RoleSweeper      = "sweeper"
	RoleWorker       = "worker"
	RoleProvisioning = "provisioning"
	RoleOperator     = "operator" // pauses consumers
)

// InboxOf is where a role is answered: no other role may listen there.
func InboxOf(role string) string { return "_INBOX_" + role }

// Roles are all of them, from the streams and consumers there are.
func Roles() []Role {
	events := []string{"interactions.>", "events.>"}
	announced := append(slices.Clone(events), "dlq.>")
	all := []Role{{Name: RoleSequin, Password: true, Publish: events}}
	all = append(all,
		Role{Name: RoleRelay, Publish: append(slices.Clone(announced), "$JS.API.STREAM.INFO."+Interactions, "$JS.API.STREAM.INFO."+Events)}, // whether they take atomic batches
		Role{Name: RoleBridge, Publish: announced},
		Role{Name: RoleSweeper, Publish: announced},
		Role{Name: RoleWorker, Publish: worker()},
		Role{Name: RoleProvisioning, Publish: provisioning()},
		Role{Name: RoleOperator, Publish: operator()})
	for i, r := range all {
		if r.Name != RoleSequin {
			all[i].Inbox = InboxOf(r.Name)
		}
	}
	return all
}

// looks is what drift and provisioning ask.
func looks() (subjects []string) {
	for _, s := range Streams(Limits{}) {
		subjects = append(subjects, "$JS.API.STREAM.INFO."+s.Name)
	}
	for _, d := range Durables(1) {
		subjects = append(subjects, "$JS.API.CONSUMER.INFO."+d.Stream+"."+d.Config.Durable)
	}
	return subjects
}

// worker pulls and settles what its own consumers get. The sweeper beside it asks
// when the message at a consumer's floor was stored.
func worker() []string {
	subjects := append(looks(), "dlq.>")
	streams := map[string]bool{}
	for _, d := range Durables(1) {
		of := d.Stream + "." + d.Config.Durable
		subjects = append(subjects, "$JS.API.CONSUMER.MSG.NEXT."+of, "$JS.ACK."+of+".>", "$JS.ACK.*.*."+of+".>") // as a server of today writes it, and one of tomorrow
		if !streams[d.Stream] {
			streams[d.Stream] = true
			subjects = append(subjects, "$JS.API.DIRECT.GET."+d.Stream)
		}
	}
	return subjects
}

func provisioning() []string {
	subjects := append(looks(), "$JS.API.INFO")
	for _, s := range Streams(Limits{}) {
		subjects = append(subjects, "$JS.API.STREAM.CREATE."+s.Name)
	}
	for _, d := range Durables(1) {
		of := "$JS.API.CONSUMER.CREATE." + d.Stream + "." + d.Config.Durable
		subjects = append(subjects, of, of+".>")
	}
	return subjects
}

func operator() []string {
	subjects := looks()
	for _, d := range Durables(1) {
		subjects = append(subjects, "$JS.API.CONSUMER.PAUSE."+d.Stream+"."+d.Config.Durable)
	}
	return subjects
}
