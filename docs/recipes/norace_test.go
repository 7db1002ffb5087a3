//go:build !race

package recipes

const raceFlag = ""
