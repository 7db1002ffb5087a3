package testenv

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"path/filepath"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// A constant is one SQL text of a package.
type constant struct {
	name, text string
	at         token.Position // of the text's first line; of the name where it is put together
	whole      bool           // one literal: its lines are lines of the file
}

// sqlConstants reads the Go source in dir, the tests left out, and gives every
// constant named sql..., wherever it is declared. Nothing is compiled, so a
// package that does not build yet can be read too.
func sqlConstants(dir string) ([]constant, error) {
	files, err := parseDir(dir)
	if err != nil {
		return nil, err
	}
	var all []declared
	for _, file := range files {
		all = append(all, constantsOf(file.ast)...)
	}
	names := map[string]ast.Expr{}
	for _, v := range all {
		names[v.name] = v.expr
	}
	var found []constant
	for _, v := range all {
		if !isSQL(v.name) {
			continue
		}
		text, err := evaluate(v.expr, names, 0)
		if err != nil {
			return nil, fmt.Errorf("%s: constant %s: %w", files[0].set.Position(v.pos), v.name, err)
		}
		pos, whole := v.start()
		found = append(found, constant{v.name, text, files[0].set.Position(pos), whole})
	}
	return found, nil
}

type parsed struct {
	set *token.FileSet
	ast *ast.File
}

func parseDir(dir string) ([]parsed, error) {
	paths, err := filepath.Glob(filepath.Join(dir, "*.go"))
	if err != nil {
		return nil, err
	}
	set := token.NewFileSet()
	var files []parsed
	for _, path := range paths {
		if strings.HasSuffix(path, "_test.go") {
			continue
		}
		file, err := parser.ParseFile(set, path, nil, parser.SkipObjectResolution)
		if err != nil {
			return nil, err
		}
		files = append(files, parsed{set, file})
	}
	if len(files) == 0 {
		return nil, fmt.Errorf("no Go source in %s", dir)
	}
	return files, nil
}

type declared struct {
	name string
	pos  token.Pos
	expr ast.Expr
}

// start is where the text's first line is, if that can be said.
func (v declared) start() (pos token.Pos, whole bool) {
	if lit, ok := v.expr.(*ast.BasicLit); ok {
		return lit.Pos(), true
	}
	return v.pos, false
}

func constantsOf(file *ast.File) (all []declared) {
	ast.Inspect(file, func(n ast.Node) bool {
		decl, ok := n.(*ast.GenDecl)
		if !ok || decl.Tok != token.CONST {
			return true
		}
		for _, spec := range decl.Specs {
			v := spec.(*ast.ValueSpec)
			for i, name := range v.Names {
				if i < len(v.Values) {
					all = append(all, declared{name.Name, name.Pos(), v.Values[i]})
				}
			}
		}
		return true
	})
	return all
}

// isSQL tells sqlAdvance from sqlite.
func isSQL(name string) bool {
	rest, ok := strings.CutPrefix(name, "sql")
	first, _ := utf8.DecodeRuneInString(rest)
	return ok && (unicode.IsUpper(first) || unicode.IsDigit(first))
}

const deepest = 100 // a constant that names itself does not compile, but is read here all the same

func evaluate(expr ast.Expr, names map[string]ast.Expr, depth int) (string, error) {
	if depth > deepest {
		return "", fmt.Errorf("put together from itself")
	}
	switch e := expr.(type) {
	case *ast.BasicLit:
		if e.Kind == token.STRING {
			return strconv.Unquote(e.Value)
		}
	case *ast.ParenExpr:
		return evaluate(e.X, names, depth+1)
	case *ast.Ident:
		if v, ok := names[e.Name]; ok {
			return evaluate(v, names, depth+1)
		}
	case *ast.BinaryExpr:
		if e.Op != token.ADD {
			break
		}
		left, err := evaluate(e.X, names, depth+1)
		if err != nil {
			return "", err
		}
		right, err := evaluate(e.Y, names, depth+1)
		return left + right, err
	}
	return "", fmt.Errorf("only string literals and constants of the same package are understood")
}
