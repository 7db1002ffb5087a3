//go:build !linux

package testenv

func memoryRoot() (string, bool) { return "", false }
