package up

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/http"
	"syscall"
	"time"

	"github.com/finnest/event-runtime/internal/simulator/ofb"
)

// lightFaults are what the regulator's network does under `--chaos light`:
// requests and answers get lost.
var lightFaults = []ofb.Fault{
	{Operation: "report", Kind: ofb.LoseRequest, Probability: 0.05},
	{Operation: "report", Kind: ofb.LoseAnswer, Probability: 0.05},
	{Operation: "report", Kind: ofb.CutAnswer, Bytes: 40, Probability: 0.02},
}

// chaos kills worker and relay at random moments and loses requests and answers
// until ctx ends; then it heals the regulator, so that doubt can be cleared up.
// The same seed makes the same decisions.
func (m *machine) chaos(ctx context.Context) error {
	if m.opt.Chaos != "light" {
		return fmt.Errorf("--chaos %s: only light is known", m.opt.Chaos)
	}
	for _, f := range lightFaults {
		if err := m.inject(ctx, f); err != nil {
			return err
		}
	}
	dice := rand.New(rand.NewPCG(m.opt.Seed, 0))
	for ctx.Err() == nil {
		select {
		case <-ctx.Done():
		case <-time.After(3*time.Second + time.Duration(dice.Int64N(int64(5*time.Second)))):
			name := []string{"serve", "relay"}[dice.IntN(2)]
			fmt.Fprintf(m.say, "%s  chaos: kill -9 %s\n", time.Now().Format(time.TimeOnly), name)
			if err := m.children.Kill(name, syscall.SIGKILL); err != nil && ctx.Err() == nil {
				fmt.Fprintf(m.say, "%s  chaos: %v\n", time.Now().Format(time.TimeOnly), err) // it was just being started again
			}
		}
	}
	return m.ask(context.WithoutCancel(ctx), http.MethodDelete, m.ports.control, "/_faults", nil)
}

func (m *machine) inject(ctx context.Context, f ofb.Fault) error {
	body, err := json.Marshal(f)
	if err != nil {
		return err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://"+on(m.ports.control)+"/_faults", bytes.NewReader(body))
	if err != nil {
		return err
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer func() { _ = res.Body.Close() }()
	if res.StatusCode != http.StatusCreated {
		return fmt.Errorf("inject %s: %s", f.Kind, res.Status)
	}
	return nil
}
