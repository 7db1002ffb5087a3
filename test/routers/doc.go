// Package routers holds tests only: package capture around the routers that keep
// their patterns elsewhere than http.ServeMux does.
package routers
