package ofb

import (
	"encoding/json"
	"fmt"
	"net/http"
	"time"

	"github.com/google/uuid"
)

// controlRoutes is the side of the simulator that PCM does not have.
func (s *Server) controlRoutes() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /_ledger", s.showLedger)
	mux.HandleFunc("GET /_pki", func(w http.ResponseWriter, _ *http.Request) { show(w, http.StatusOK, s.whereabouts()) })
	mux.HandleFunc("GET /_faults", func(w http.ResponseWriter, _ *http.Request) { show(w, http.StatusOK, s.faults.all()) })
	mux.HandleFunc("POST /_faults", s.addFault)
	mux.HandleFunc("DELETE /_faults", s.removeFault)
	mux.HandleFunc("DELETE /_faults/{id}", s.removeFault)
	mux.HandleFunc("GET /_clock", s.showClock)
	mux.HandleFunc("POST /_clock", s.setClock)
	mux.HandleFunc("GET /_counterparty", func(w http.ResponseWriter, _ *http.Request) { show(w, http.StatusOK, s.counterparty()) })
	mux.HandleFunc("POST /_counterparty", s.changeCounterparty)
	return mux
}

// Whereabouts is the answer of GET /_pki: all a client needs to begin.
type Whereabouts struct {
	PKI

	AuthURL    string `json:"auth_url"`
	APIURL     string `json:"api_url"`
	ControlURL string `json:"control_url"`
}

func (s *Server) whereabouts() Whereabouts {
	return Whereabouts{PKI: s.PKI(), AuthURL: s.AuthURL(), APIURL: s.APIURL(), ControlURL: s.ControlURL()}
}

func (s *Server) addFault(w http.ResponseWriter, r *http.Request) {
	var f Fault
	if !read(w, r, &f) {
		return
	}
	id, err := s.faults.add(f)
	if err != nil {
		complain(w, err)
		return
	}
	show(w, http.StatusCreated, map[string]string{"id": id})
}

func (s *Server) removeFault(w http.ResponseWriter, r *http.Request) {
	if !s.faults.remove(r.PathValue("id")) {
		show(w, http.StatusNotFound, map[string]string{"error": "no such fault"})
		return
	}
	w.WriteHeader(http.StatusNoContent)
}

type clockView struct {
	Now    time.Time `json:"now"`
	Offset Duration  `json:"offset"`
}

func (s *Server) showClock(w http.ResponseWriter, _ *http.Request) {
	show(w, http.StatusOK, clockView{Now: s.clock.now(), Offset: Duration(s.clock.moved())})
}

func (s *Server) setClock(w http.ResponseWriter, r *http.Request) {
	var to struct {
		Offset Duration `json:"offset"`
	}
	if !read(w, r, &to) {
		return
	}
	s.clock.move(time.Duration(to.Offset))
	s.Tick()
	s.showClock(w, r)
}

func (s *Server) changeCounterparty(w http.ResponseWriter, r *http.Request) {
	var c Counterparty
	if !read(w, r, &c) {
		return
	}
	if err := s.SetCounterparty(c); err != nil {
		complain(w, err)
		return
	}
	show(w, http.StatusOK, c)
}

// showLedger streams the long lists, so that reading a million reports costs the
// simulator a thousand of them at a time.
func (s *Server) showLedger(w http.ResponseWriter, r *http.Request) {
	q := r.URL.Query()
	only, err := uuid.Parse(q.Get("key"))
	if q.Get("key") != "" && err != nil {
		complain(w, fmt.Errorf("key: %w", err))
		return
	}
	var details []Detail
	if q.Has("days") {
		details = append(details, Days)
	}
	head, err := json.Marshal(s.Ledger(details...))
	if err != nil {
		complain(w, err)
		return
	}
	w.Header().Set("Content-Type", jsonType)
	_, _ = w.Write(head[:len(head)-1])
	if q.Has("keys") || q.Has("duplicates") || q.Has("key") {
		stream(w, "keys", func(f func(KeyRow) bool) { s.store.eachKey(q.Has("duplicates"), only, f) })
	}
	if q.Has("requests") {
		stream(w, "requests", s.store.eachRequest)
	}
	_, _ = w.Write([]byte("}\n"))
}

func stream[T any](w http.ResponseWriter, name string, each func(func(T) bool)) {
	separator := fmt.Sprintf(",\n%q:[\n", name)
	each(func(row T) bool {
		line, err := json.Marshal(row)
		if err == nil {
			_, err = w.Write(append([]byte(separator), line...))
		}
		separator = ",\n"
		return err == nil
	})
	if separator != ",\n" {
		_, _ = w.Write([]byte(separator))
	}
	_, _ = w.Write([]byte("]"))
}

const maxControlBody = 1 << 20

// read refuses unknown names: a fault with a misspelt field would be another fault.
func read(w http.ResponseWriter, r *http.Request, into any) bool {
	dec := json.NewDecoder(http.MaxBytesReader(w, r.Body, maxControlBody))
	dec.DisallowUnknownFields()
	if err := dec.Decode(into); err != nil {
		complain(w, err)
		return false
	}
	return true
}

func complain(w http.ResponseWriter, err error) {
	show(w, http.StatusBadRequest, map[string]string{"error": err.Error()})
}

func show(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", jsonType)
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(v)
}
