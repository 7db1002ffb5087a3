//go:build !linux

package local

// inNamespace stands for what only Linux has; as it is root itself, Postgres
// refuses it, and the user postgres is taken.
func inNamespace() account {
	a := ourselves()
	a.name = "root"
	return a
}

const fdPaths = "" // a directory cannot be entered by its descriptor here
