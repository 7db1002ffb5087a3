package local

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"sort"
	"strconv"
	"strings"
)

// EnvBin names the directory of the Postgres binaries to use, and no other.
const EnvBin = "EVENT_RUNTIME_PG_BIN"

const oldestMajor = 15

// binaries is one installation of Postgres.
type binaries struct {
	dir     string
	major   int
	version string // as it names itself
}

// PostgresVersion is how the installation that a new cluster would get names
// itself: what is prepared by one must not be given to another.
func PostgresVersion(ctx context.Context) (string, error) {
	b, err := findBinaries(ctx, 0)
	return b.version, err
}

func (b binaries) tool(name string) string { return filepath.Join(b.dir, name) }

// findBinaries finds an installation: of exactly this major version where a data
// directory needs it, else the first that is new enough.
func findBinaries(ctx context.Context, major int) (binaries, error) {
	var looked []string
	for _, dir := range candidates() {
		b, err := inspect(ctx, dir)
		switch {
		case ctx.Err() != nil:
			return b, context.Cause(ctx)
		case err != nil:
			looked = append(looked, fmt.Sprintf("%s (%v)", dir, err))
		case b.major < oldestMajor:
			looked = append(looked, fmt.Sprintf("%s (version %d is too old)", dir, b.major))
		case major != 0 && b.major != major:
			looked = append(looked, fmt.Sprintf("%s (version %d, the data directory was made by %d)", dir, b.major, major))
		default:
			return b, nil
		}
	}
	return binaries{}, missing(major, looked)
}

func missing(major int, looked []string) error {
	wanted, version := fmt.Sprintf("%d or newer", oldestMajor), oldestMajor
	if major != 0 {
		wanted, version = strconv.Itoa(major), major
	}
	if len(looked) == 0 {
		looked = []string{"PATH", "/usr/lib/postgresql/*/bin", "/usr/pgsql-*/bin", "/opt/homebrew", "/usr/local"}
	}
	return fmt.Errorf("postgres %s not found; looked in %s; install it (Debian: apt-get install postgresql-%d, macOS: brew install postgresql@%d) or name the directory of postgres and initdb in %s",
		wanted, strings.Join(looked, ", "), version, version, EnvBin)
}

func candidates() []string {
	if dir := os.Getenv(EnvBin); dir != "" {
		return []string{dir}
	}
	var dirs []string
	if path, err := exec.LookPath("postgres"); err == nil {
		dirs = append(dirs, filepath.Dir(path))
	}
	for _, pattern := range []string{
		"/usr/lib/postgresql/*/bin", "/usr/pgsql-*/bin",
		"/opt/homebrew/opt/postgresql@*/bin", "/usr/local/opt/postgresql@*/bin",
		"/opt/homebrew/opt/postgresql/bin", "/usr/local/opt/postgresql/bin", "/usr/local/pgsql/bin",
	} {
		found, _ := filepath.Glob(pattern)
		sort.Slice(found, func(i, j int) bool { return numberIn(found[i]) > numberIn(found[j]) })
		dirs = append(dirs, found...)
	}
	return dirs
}

var digits = regexp.MustCompile(`[0-9]+`)

func numberIn(text string) int {
	n, _ := strconv.Atoi(digits.FindString(text))
	return n
}

func inspect(ctx context.Context, dir string) (binaries, error) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return binaries{}, err
	}
	b := binaries{dir: dir}
	if _, err := os.Stat(b.tool("initdb")); err != nil {
		return b, fmt.Errorf("no initdb")
	}
	text, err := exec.CommandContext(ctx, b.tool("postgres"), "--version").Output()
	if err != nil {
		return b, fmt.Errorf("postgres --version: %w", err)
	}
	b.version = strings.TrimSpace(string(text))
	b.major = numberIn(b.version) // "postgres (PostgreSQL) 15.14 (Debian 15.14-0+deb12u1)"
	return b, nil
}
