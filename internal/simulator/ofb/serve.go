package ofb

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"
)

const (
	headerTimeout = 10 * time.Second
	bodyTimeout   = 2 * time.Minute
	idleTimeout   = 2 * time.Minute
	closeGrace    = time.Second
)

// serve binds the three listeners and runs them beside the pairing of what is due.
func (s *Server) serve(ctx context.Context, ca *authority) error {
	auth, api, err := s.tlsConfigs(ca)
	if err != nil {
		return err
	}
	var listeners []net.Listener
	for _, addr := range []string{s.cfg.AuthAddr, s.cfg.APIAddr, s.cfg.ControlAddr} {
		l, err := new(net.ListenConfig).Listen(ctx, "tcp", addr)
		if err != nil {
			for _, bound := range listeners {
				_ = bound.Close()
			}
			return fmt.Errorf("simulator of OFB: %w", err)
		}
		listeners = append(listeners, l)
	}
	s.urls = urls{
		auth: "https://" + listeners[0].Addr().String(), api: "https://" + listeners[1].Addr().String(),
		control: "http://" + listeners[2].Addr().String(),
	}
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error { return s.store.run(ctx) })
	group.Go(func() error {
		return s.listen(ctx, tls.NewListener(listeners[0], auth), http.HandlerFunc(s.authRoutes))
	})
	group.Go(func() error { return s.listen(ctx, tls.NewListener(listeners[1], api), http.HandlerFunc(s.apiRoutes)) })
	group.Go(func() error { return s.listen(ctx, listeners[2], s.controlRoutes()) })
	group.Go(func() error {
		<-ctx.Done()
		close(s.closing)
		return nil
	})
	close(s.ready)
	return group.Wait()
}

// tlsConfigs are the two trust models: the token host wants a certificate of an
// accredited CA, the report host wants none and asks for none.
func (s *Server) tlsConfigs(ca *authority) (auth, api *tls.Config, err error) {
	var hosts []string
	for _, addr := range []string{s.cfg.AuthAddr, s.cfg.APIAddr} {
		host, _, err := net.SplitHostPort(addr)
		if err != nil {
			return nil, nil, fmt.Errorf("listen address %q: %w", addr, err)
		}
		hosts = append(hosts, host)
	}
	cert, err := ca.serverCertificate(time.Now(), hosts...)
	if err != nil {
		return nil, nil, fmt.Errorf("server certificate: %w", err)
	}
	// HTTP/1.1 only: a reset must cut one exchange, not all that share a connection.
	api = &tls.Config{MinVersion: tls.VersionTLS12, Certificates: []tls.Certificate{cert}, NextProtos: []string{"http/1.1"}}
	auth = api.Clone()
	auth.ClientAuth, auth.ClientCAs = tls.RequireAndVerifyClientCert, ca.pool
	return auth, api, nil
}

func (s *Server) listen(ctx context.Context, l net.Listener, h http.Handler) error {
	protocols := new(http.Protocols)
	protocols.SetHTTP1(true)
	server := &http.Server{
		Handler: h, Protocols: protocols, ReadHeaderTimeout: headerTimeout, ReadTimeout: bodyTimeout, IdleTimeout: idleTimeout,
		ErrorLog: log.New(io.Discard, "", 0), // refused handshakes are what some tests are about
	}
	var open sync.WaitGroup // connections: Close does not wait for them, and the journal closes after us
	server.ConnState = func(_ net.Conn, state http.ConnState) {
		switch state {
		case http.StateNew:
			open.Add(1)
		case http.StateHijacked, http.StateClosed:
			open.Done()
		}
	}
	defer open.Wait()
	stopped := make(chan struct{})
	defer context.AfterFunc(ctx, func() {
		grace, cancel := context.WithTimeout(context.WithoutCancel(ctx), closeGrace)
		defer cancel()
		if server.Shutdown(grace) != nil {
			_ = server.Close()
		}
		close(stopped)
	})()
	if err := server.Serve(l); !errors.Is(err, http.ErrServerClosed) {
		_ = server.Close()
		return err
	}
	<-stopped
	return nil
}
