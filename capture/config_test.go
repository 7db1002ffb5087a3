package capture

import (
	"testing"
	"time"
)

func TestConfigIsRefused(t *testing.T) {
	t.Parallel()
	if _, err := New(nil, Config{TenantID: "acme", Ecosystem: "ofb"}); err == nil {
		t.Error("a recorder without a pool")
	}
	good := Config{TenantID: "acme", Ecosystem: "opin"}
	if _, err := New(newFakeDB(), good); err != nil {
		t.Fatal(err)
	}
	for name, change := range map[string]func(*Config){
		"no tenant":          func(c *Config) { c.TenantID = "" },
		"tenant with dots":   func(c *Config) { c.TenantID = "a.b" },
		"reserved tenant":    func(c *Config) { c.TenantID = "platform" },
		"unknown ecosystem":  func(c *Config) { c.Ecosystem = "platform" },
		"negative wait":      func(c *Config) { c.Wait = -1 },
		"negative writers":   func(c *Config) { c.Writers = -1 },
		"negative queue":     func(c *Config) { c.QueueSize = -1 },
		"retries over a day": func(c *Config) { c.RetryFor = 25 * time.Hour },
		"personal data":      func(c *Config) { c.Source = "maria@example.com" },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cfg := good
			change(&cfg)
			if _, err := New(newFakeDB(), cfg); err == nil {
				t.Errorf("%+v was taken", cfg)
			}
		})
	}
}
