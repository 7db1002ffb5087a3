package routers

import (
	"io"
	"net/http"
	"testing"

	"github.com/finnest/event-runtime/capture"
	"github.com/gin-gonic/gin"
)

func ginAPI(recorder *capture.Recorder) (*gin.Engine, http.Handler) {
	api := gin.New()
	api.Use(func(c *gin.Context) { capture.Route(c.Request.Context(), c.FullPath()) })
	handler := recorder.Server(capture.ServerOptions{})(api)
	return api, handler
}

func TestGin(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	answer := func(status int) gin.HandlerFunc { return func(c *gin.Context) { c.Status(status) } }
	api, handler := ginAPI(r.Recorder)
	api.HandleMethodNotAllowed = true
	api.Use(func(c *gin.Context) { c.Request = c.Request.Clone(c.Request.Context()) })
	api.GET("/health", answer(204))
	consents := api.Group("/open-banking/consents/v3")
	consents.POST("/consents", func(c *gin.Context) { c.JSON(201, gin.H{"state": "AUTHORISED"}) })
	consents.GET("/consents/:consentId", answer(200))
	consents.GET("/consents/:consentId/extensions", answer(200))
	api.GET("/files/*path", answer(200))
	r.check(r.serve(handler), map[string]ask{
		"without a parameter":             {"GET", "/health", 204, "GET /health 204"},
		"a route of a group":              {"POST", "/open-banking/consents/v3/consents", 201, "POST /open-banking/consents/v3/consents 201"},
		"a parameter":                     {"GET", "/open-banking/consents/v3/consents/urn:bank:C123456", 200, "GET /open-banking/consents/v3/consents/{consentId} 200"},
		"more behind a parameter":         {"GET", "/open-banking/consents/v3/consents/x/extensions", 200, "GET /open-banking/consents/v3/consents/{consentId}/extensions 200"},
		"the rest of the path":            {"GET", "/files/a/b", 200, "GET /files/{path} 200"},
		"no route":                        {"GET", "/elsewhere", 404, ""},
		"another method":                  {"DELETE", "/health", 405, ""},
		"another method with a parameter": {"PUT", "/open-banking/consents/v3/consents/x", 405, ""},
	})
}

// gin streams with what it takes for granted of every http.ResponseWriter.
func TestGinStreams(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	api, handler := ginAPI(r.Recorder)
	api.GET("/stream", func(c *gin.Context) {
		pieces := 0
		c.Stream(func(w io.Writer) bool {
			pieces++
			_, _ = io.WriteString(w, "piece ")
			return pieces < 3
		})
	})
	url := r.serve(handler)
	if status, body := r.call(http.MethodGet, url+"/stream"); status != 200 || body != "piece piece piece " {
		t.Errorf("got %d, %q", status, body)
	}
	if got := r.recorded(); len(got) != 1 || got[0] != "GET /stream 200" {
		t.Errorf("got %q, want one record", got)
	}
}
