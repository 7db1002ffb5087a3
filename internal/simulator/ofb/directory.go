package ofb

import (
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/google/uuid"
)

// Directory is the seed of participants: who exists, who belongs together, and
// which software statements and client ids are whose.
type Directory struct {
	Organisations []Organisation `json:"organisations"`
}

// Organisation is one participant.
type Organisation struct {
	ID                 string   `json:"id"`
	Name               string   `json:"name"`
	Conglomerate       string   `json:"conglomerate,omitempty"` // members may report for each other
	ClientID           string   `json:"client_id"`
	SoftwareStatements []string `json:"software_statements"`
	Blocked            bool     `json:"blocked,omitempty"` // known, but answered 403
}

//go:embed data/directory.json
var defaultDirectory []byte

// DefaultDirectory is a market of five fictitious organisations. Their ids are
// stable, so that demos and tests can name them:
//
//	11a1c0de-0001-4a00-8a00-000000000001  Banco Araucária         conglomerate araucaria
//	11a1c0de-0002-4a00-8a00-000000000002  Araucária Pagamentos    conglomerate araucaria
//	22b2c0de-0003-4b00-8b00-000000000003  Banco Ipê
//	33c3c0de-0004-4c00-8c00-000000000004  Cooperativa Jatobá
//	44d4c0de-0005-4d00-8d00-000000000005  Fintech Buriti
//
// The client id of an organisation is its id with the last group 0000000000c1, and
// its software statements end in 51 and 52: see data/directory.json.
func DefaultDirectory() Directory {
	d, err := parseDirectory(defaultDirectory)
	if err != nil {
		panic(err) // embedded, and read by every test
	}
	return d
}

// LoadDirectory reads a seed file of the form of data/directory.json.
func LoadDirectory(path string) (Directory, error) {
	raw, err := os.ReadFile(path)
	if err != nil {
		return Directory{}, fmt.Errorf("read directory: %w", err)
	}
	d, err := parseDirectory(raw)
	if err != nil {
		return Directory{}, fmt.Errorf("read directory %s: %w", path, err)
	}
	return d, nil
}

func parseDirectory(raw []byte) (Directory, error) {
	var d Directory
	dec := json.NewDecoder(strings.NewReader(string(raw)))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&d); err != nil {
		return d, err
	}
	return d, d.validate()
}

// validate finds every fault at once: a seed file is written by hand.
func (d Directory) validate() error {
	var errs []error
	seen := map[string]string{}
	claim := func(what, id, owner string) {
		if _, err := parseUUID(id); err != nil {
			errs = append(errs, fmt.Errorf("%s %q of %s is not a UUID", what, id, owner))
		}
		if other, ok := seen[what+id]; ok {
			errs = append(errs, fmt.Errorf("%s %s belongs to %s and to %s", what, id, other, owner))
		}
		seen[what+id] = owner
	}
	for _, o := range d.Organisations {
		claim("organisation", o.ID, o.Name)
		claim("client id", o.ClientID, o.Name)
		for _, s := range o.SoftwareStatements {
			claim("software statement", s, o.Name)
		}
	}
	if len(d.Organisations) == 0 {
		errs = append(errs, errors.New("no organisation"))
	}
	return errors.Join(errs...)
}

// parseUUID reads the one form the platform accepts: 36 characters with hyphens.
func parseUUID(s string) (uuid.UUID, error) {
	if len(s) != 36 {
		return uuid.Nil, errors.New("not 36 characters")
	}
	return uuid.Parse(s)
}
