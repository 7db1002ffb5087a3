package manifest

// Database is an entry of databases. How to reach it is Sequin's: a relay of ours
// has an address of its own, and keeps the rest for what messages say.
type Database struct {
	Name        string
	Hostname    string
	Database    string
	Annotations []byte // a JSON object
	Slot        Created
	Publication Created
}

// Created is a slot or a publication.
type Created struct {
	Name    string
	Create  bool   // where it does not exist
	InitSQL string // of a publication
}

// readDatabase ignores keys that it does not know, as Sequin does.
func readDatabase(o object) Database {
	d := Database{Name: o.name(), Annotations: o.annotations(), Slot: o.created("slot"), Publication: o.created("publication")}
	if o.text("url", "") == "" {
		d.Hostname, d.Database = o.required("hostname"), o.required("database")
	}
	for _, key := range []string{"port", "pool_size", "queue_target", "queue_interval"} {
		o.number(key, 0, true)
	}
	if _, ok := o.fields["ssl"].(string); ok {
		o.fault("ssl", `must be written as true or false: Sequin takes the string "false" for true`)
	}
	return d
}

// created reads {name: …}, or the flat key of older files.
func (o object) created(key string) Created {
	inner := o.object(key)
	if flat := o.text(key+"_name", ""); flat != "" {
		if inner.fields != nil {
			o.fault(key, "give %s or %s_name, not both", key, key)
		}
		return Created{Name: flat}
	}
	return Created{Name: inner.required("name"), Create: inner.truth("create_if_not_exists", false), InitSQL: inner.text("init_sql", "")}
}
