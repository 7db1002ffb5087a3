// The routers that banks use, held against package capture. A module of its own,
// so that no importer of event-runtime gets their versions: docs/decisions/0015.
// event-runtime itself comes from go.work, which is why it is not required here.
module github.com/finnest/event-runtime/test/routers

go 1.26.0

require (
	github.com/gin-gonic/gin v1.12.0
	github.com/go-chi/chi/v5 v5.5.0
)
