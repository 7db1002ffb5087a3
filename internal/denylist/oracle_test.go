package denylist

import (
	"fmt"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// The check digits below follow the other textbook formulation (ascending
// weights, the remainder itself, ten counts as zero) than the package does.

func cpfOf(nine string) string {
	d1, d2 := 0, 0
	for i := range 9 {
		d1 += int(nine[i]-'0') * (i + 1)
		d2 += int(nine[i]-'0') * i
	}
	d1 = d1 % 11 % 10
	d2 = (d2 + d1*9) % 11 % 10
	return fmt.Sprintf("%s%d%d", nine, d1, d2)
}

func cnpjOf(twelve string) string {
	up := [2][13]int{{6, 7, 8, 9, 2, 3, 4, 5, 6, 7, 8, 9}, {5, 6, 7, 8, 9, 2, 3, 4, 5, 6, 7, 8, 9}}
	for k := range up {
		sum := 0
		for i := range len(twelve) {
			sum += (int(twelve[i]) - 48) * up[k][i]
		}
		twelve += fmt.Sprint(sum % 11 % 10)
	}
	return twelve
}

func cardOf(lead string, size int) string {
	for {
		if len(lead) < size-1 {
			lead += "7"
			continue
		}
		doubled := [10]int{0, 2, 4, 6, 8, 1, 3, 5, 7, 9}
		sum := 0
		for i := range len(lead) {
			if c := int(lead[len(lead)-1-i] - '0'); i%2 == 0 {
				sum += doubled[c]
			} else {
				sum += c
			}
		}
		return lead + fmt.Sprint((10-sum%10)%10)
	}
}

func TestEveryCPF(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		d := cpfOf(rapid.StringMatching(`[0-9]{9}`).Draw(t, "nine"))
		if strings.Count(d, d[:1]) == len(d) {
			t.Skip("all alike")
		}
		masked := d[:3] + "." + d[3:6] + "." + d[6:9] + "-" + d[9:]
		for _, s := range []string{d, masked} {
			if k, _ := Find(s); k != CPF {
				t.Fatalf("Find(%q): got %q, want cpf", s, k)
			}
		}
		i := rapid.IntRange(0, 10).Draw(t, "place")
		wrong := masked[:len(masked)-1] + string('0'+(masked[len(masked)-1]-'0'+byte(i%9)+1)%10)
		if k, ok := Find(wrong); ok {
			t.Fatalf("Find(%q): got %q, want no hit with a wrong check digit", wrong, k)
		}
	})
}

func TestEveryCNPJ(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		d := cnpjOf(rapid.StringMatching(`[0-9A-Z]{12}`).Draw(t, "twelve"))
		masked := d[:2] + "." + d[2:5] + "." + d[5:8] + "/" + d[8:12] + "-" + d[12:]
		for _, s := range []string{masked, strings.ToLower(masked), "cnpj " + d} {
			if k, _ := Find(s); k != CNPJ {
				t.Fatalf("Find(%q): got %q, want cnpj", s, k)
			}
		}
		if n := cnpjOf(rapid.StringMatching(`[3-9][0-9]{11}`).Draw(t, "digits")); strings.Count(n, n[:1]) < len(n) {
			if k, _ := Find(n); k != CNPJ {
				t.Fatalf("Find(%q): got %q, want cnpj", n, k)
			}
		}
		last := masked[len(masked)-1]
		wrong := masked[:len(masked)-1] + string('0'+(last-'0'+1)%10)
		if k, ok := Find(wrong); ok {
			t.Fatalf("Find(%q): got %q, want no hit with a wrong check digit", wrong, k)
		}
	})
}

func TestEveryCard(t *testing.T) {
	t.Parallel()
	for _, b := range brands {
		for _, lead := range []int{b.from, b.to} {
			for _, size := range []int{b.min, b.max} {
				s := cardOf(fmt.Sprint(lead), size)
				if k, _ := Find(s); k != Card && k != CNPJ {
					t.Errorf("Find(%q): got %q, want card", s, k)
				}
				wrong := s[:len(s)-1] + string('0'+(s[len(s)-1]-'0'+1)%10)
				if k, ok := Find(wrong); ok && k == Card {
					t.Errorf("Find(%q): got %q, want no card with a wrong check digit", wrong, k)
				}
			}
		}
	}
}

// Every area code of the numbering plan, and no other.
func TestAreas(t *testing.T) {
	t.Parallel()
	const plan = "11 12 13 14 15 16 17 18 19 21 22 24 27 28 31 32 33 34 35 37 38 41 42 43 44 45 46 47 48 49 51 53 54 55 " +
		"61 62 63 64 65 66 67 68 69 71 73 74 75 77 79 81 82 83 84 85 86 87 88 89 91 92 93 94 95 96 97 98 99"
	for n := range 100 {
		area := fmt.Sprintf("%02d", n)
		want := strings.Contains(" "+plan+" ", " "+area+" ")
		if _, got := Find("(" + area + ") 98765-4321"); got != want {
			t.Errorf("area %s: got %v, want %v", area, got, want)
		}
	}
}
