package routers

import (
	"testing"

	"github.com/finnest/event-runtime/internal/testenv"
	"github.com/gin-gonic/gin"
)

func TestMain(m *testing.M) {
	gin.SetMode(gin.ReleaseMode) // no routes on standard output
	testenv.Main(m)
}
