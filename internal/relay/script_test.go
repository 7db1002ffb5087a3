package relay

import (
	"regexp"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
)

// step is one step of rows.sql.
type step struct {
	name       string
	statements []string
}

var stepLine = regexp.MustCompile(`(?m)^-- step: (.*)$`)

func readSteps(t *testing.T) []step {
	t.Helper()
	return scriptSteps(t, "testdata/outbox/rows.sql")
}

func scriptSteps(t *testing.T, path string) []step {
	t.Helper()
	text := file(t, path)
	var all []step
	found := stepLine.FindAllStringSubmatchIndex(text, -1)
	for i, at := range found {
		end := len(text)
		if i+1 < len(found) {
			end = found[i+1][0]
		}
		all = append(all, step{text[at[2]:at[3]], statements(text[at[1]:end])})
	}
	return all
}

// statements cuts a script at its semicolons, as psql does. A COPY keeps its
// lines of data.
func statements(text string) []string {
	var all []string
	var quote byte // ', or $ for $$
	start := 0
	for i := 0; i < len(text); i++ {
		switch c := text[i]; {
		case quote == '\'' && c == '\'', quote == '$' && strings.HasPrefix(text[i:], "$$"):
			i += map[byte]int{'\'': 0, '$': 1}[quote]
			quote = 0
		case quote != 0:
		case strings.HasPrefix(text[i:], "--"):
			i += strings.IndexByte(text[i:]+"\n", '\n')
		case c == '\'':
			quote = c
		case strings.HasPrefix(text[i:], "$$"):
			quote = '$'
			i++
		case c == ';':
			one := strings.TrimSpace(text[start:i])
			start = i + 1
			if strings.HasSuffix(one, "from stdin") {
				data, rest, _ := strings.Cut(text[start:], "\n\\.\n")
				one += "\n" + strings.TrimPrefix(data, "\n") + "\n"
				start = len(text) - len(rest)
				i = start - 1
			}
			all = append(all, one)
		}
	}
	return all
}

// run executes each statement by itself. What the constraints refuse, they shall.
func (s step) run(t *testing.T, conn *pgx.Conn) {
	t.Helper()
	for _, sql := range s.statements {
		var err error
		if head, data, copied := strings.Cut(sql, "from stdin\n"); copied {
			_, err = conn.PgConn().CopyFrom(t.Context(), strings.NewReader(data), head+"from stdin")
		} else {
			_, err = conn.PgConn().Exec(t.Context(), sql).ReadAll()
		}
		if refused := strings.HasPrefix(s.name, "a row refused by its constraints"); refused != (err != nil) {
			t.Fatalf("step %q: got error %v, want one: %v, for %.200s", s.name, err, refused, sql)
		}
	}
}
