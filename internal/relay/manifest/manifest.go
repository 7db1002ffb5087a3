// Package manifest reads a configuration file of Sequin's, as Sequin reads it.
//
// Promise: a file that Sequin accepts is read with the same meaning; what Sequin
//
//	refuses in a sink or an endpoint is refused here.
//
// State:   none.
// Failure: every fault of the file at once, each with its key and what is
//
//	expected there. Values are not repeated: they may be secrets.
package manifest

import (
	"errors"
	"fmt"

	"go.yaml.in/yaml/v3"
)

// File is what a relay needs of the file. Account, users, tokens and change
// retentions are Sequin's own business.
type File struct {
	Databases []Database
	Endpoints []Endpoint
	Functions []Function
	Sinks     []Sink
}

// Read parses the file and fills in variables from environ ("NAME=value").
func Read(text []byte, environ []string) (*File, error) {
	top, err := Fill(text, environ)
	if err != nil {
		return nil, err
	}
	r := &reader{}
	root := object{r: r, fields: top}
	f := &File{
		Databases: each(root, "databases", readDatabase),
		Endpoints: each(root, "http_endpoints", readEndpoint),
		Functions: append(each(root, "functions", readFunction), each(root, "transforms", readFunction)...),
		Sinks:     each(root, "sinks", readSink),
	}
	f.checkReferences(r)
	return f, errors.Join(r.faults...)
}

// Fill parses the file and fills in variables, and does not look at what its keys
// mean.
func Fill(text []byte, environ []string) (map[string]any, error) {
	var raw any
	if err := yaml.Unmarshal(text, &raw); err != nil {
		return nil, fmt.Errorf("not YAML: %w", err)
	}
	top, ok := raw.(map[string]any)
	if !ok {
		return nil, errors.New("the file is no mapping: it needs databases and sinks at its top")
	}
	filled, err := substitute(top, "", environ)
	if err != nil {
		return nil, err
	}
	return filled.(map[string]any), nil
}

// Database finds a database by its name.
func (f *File) Database(name string) (Database, bool) {
	return find(f.Databases, func(d Database) bool { return d.Name == name })
}

// Function finds a function by its name.
func (f *File) Function(name string) (Function, bool) {
	return find(f.Functions, func(fn Function) bool { return fn.Name == name })
}

// Endpoint finds an endpoint by its name.
func (f *File) Endpoint(name string) (Endpoint, bool) {
	return find(f.Endpoints, func(e Endpoint) bool { return e.Name == name })
}

func find[T any](all []T, is func(T) bool) (T, bool) {
	for _, one := range all {
		if is(one) {
			return one, true
		}
	}
	return *new(T), false
}

// checkReferences makes sure that what a sink names is there.
func (f *File) checkReferences(r *reader) {
	for i, s := range f.Sinks {
		at := fmt.Sprintf("sinks[%d]", i)
		if _, ok := f.Database(s.Database); !ok && s.Database != "" {
			r.fault(at+".database", "%q is not among databases[].name", s.Database)
		}
		for key, want := range map[string]struct{ name, kind string }{
			"filter": {s.Filter, "filter"}, "routing": {s.Routing, "routing"}, "enrichment": {s.Enrichment, "enrichment"},
		} {
			fn, ok := f.Function(want.name)
			if want.name != "" && (!ok || fn.Type != want.kind) {
				r.fault(at+"."+key, "%q is not among functions[].name of type %s", want.name, want.kind)
			}
		}
		if fn, ok := f.Function(s.Transform); s.Transform != "" && (!ok || fn.Type != "transform" && fn.Type != "path") {
			r.fault(at+".transform", "%q is not among functions[].name of type transform or path", s.Transform)
		}
		if e := s.Destination.Endpoint; s.Destination.Type == Webhook && e != "" {
			if _, ok := f.Endpoint(e); !ok {
				r.fault(at+".destination.http_endpoint", "%q is not among http_endpoints[].name", e)
			}
		}
	}
}
