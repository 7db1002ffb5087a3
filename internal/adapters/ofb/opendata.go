package ofb

import (
	"net/netip"
	"time"

	"github.com/finnest/event-runtime/internal/event"
	"github.com/finnest/event-runtime/internal/fault"
	"github.com/go-json-experiment/json"
)

// openReport is an item of a report of open data (contract section 5.2): all keys
// are required, and no other may be there. Nothing in it says who reports: that is
// the token's organisation.
type openReport struct {
	Endpoint        string   `json:"endpoint"`
	StatusCode      int      `json:"statusCode"`
	Method          string   `json:"httpMethod"`
	Timestamp       string   `json:"timestamp"`
	ProcessTimespan float64  `json:"processTimespan"`
	AdditionalInfo  openInfo `json:"additionalInfo"`
}

type openInfo struct {
	ClientIP string `json:"clientIp"`
}

func encodeOpen(i *event.Interaction, template string, at time.Time) ([]byte, error) {
	ip, ok := clientIP(i)
	if !ok {
		return nil, &fault.Error{Class: fault.Permanent, Code: "schema_invalid"}
	}
	return json.Marshal(openReport{template, i.StatusCode, i.Method, at.Format(timestampForm), i.ProcessTimespan, openInfo{ip}})
}

// clientIP is the caller's address, which the platform wants of open data. It is
// personal data: it goes into the sealed bytes and nowhere else.
func clientIP(i *event.Interaction) (string, bool) {
	var info struct {
		ClientIP string `json:"clientIp"`
	}
	if i.AdditionalInfo == nil || json.Unmarshal(i.AdditionalInfo, &info) != nil {
		return "", false
	}
	ip, err := netip.ParseAddr(info.ClientIP)
	if err != nil || ip.Zone() != "" {
		return "", false
	}
	return info.ClientIP, true
}
