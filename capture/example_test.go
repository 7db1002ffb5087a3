package capture_test

import (
	"context"
	"log"
	"net/http"
	"time"

	"github.com/finnest/event-runtime/capture"
	"github.com/jackc/pgx/v5/pgxpool"
)

// A bank's API records what it answers, and what it asks of others.
func Example() {
	ctx := context.Background()
	pool, err := pgxpool.New(ctx, "postgres://runtime_producer@db/bank")
	if err != nil {
		log.Print(err)
		return
	}
	defer pool.Close()
	rec, err := capture.New(pool, capture.Config{TenantID: "bank", Ecosystem: "ofb", Source: "accounts-api"})
	if err != nil {
		log.Print(err)
		return
	}
	defer func() {
		soon, cancel := context.WithTimeout(ctx, 10*time.Second)
		defer cancel()
		_ = rec.Close(soon)
	}()

	partner := &http.Client{Transport: rec.Client(nil, capture.ClientOptions{
		Details: capture.Details{ClientOrgID: "…", ClientSSID: "…"},
	})}

	mux := http.NewServeMux()
	mux.HandleFunc("GET /open-banking/accounts/v2/accounts/{accountId}", func(w http.ResponseWriter, r *http.Request) {
		capture.Annotate(r.Context(), capture.Details{ClientOrgID: "of the token's owner"})
		named := capture.WithEndpoint(r.Context(), "/open-banking/consents/v3/consents/{consentId}")
		req, _ := http.NewRequestWithContext(named, http.MethodGet, "https://partner.example/open-banking/consents/v3/consents/1", nil)
		res, err := partner.Do(req)
		if err != nil {
			http.Error(w, "partner is away", http.StatusBadGateway)
			return
		}
		_ = res.Body.Close()
	})
	server := &http.Server{Addr: ":8443", Handler: rec.Server(capture.ServerOptions{
		Details: capture.Details{ServerOrgID: "…"},
	})(mux), ReadHeaderTimeout: time.Second}
	log.Print(server.ListenAndServe())
}
