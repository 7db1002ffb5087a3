//go:build race

package recipes

// raceFlag makes the commands share what was compiled for this test.
const raceFlag = "-race"
