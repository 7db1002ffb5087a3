package ofb

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/url"
	"time"

	"github.com/finnest/event-runtime/internal/event"
	"github.com/finnest/event-runtime/internal/evidence"
	"github.com/finnest/event-runtime/internal/submit"
)

// CanAsk reports APIs whose reports can be looked up. Of open data nothing can:
// its reports have no id that a question could name.
func (a *Adapter) CanAsk(api string) bool { return api == Private }

const mostLookupBytes = 1 << 20

// Ask looks a report up by its interaction id.
func (a *Adapter) Ask(ctx context.Context, q submit.Question) submit.Found {
	var item struct {
		InteractionID string     `json:"fapiInteractionId"`
		Role          event.Role `json:"role"`
		ClientOrgID   string     `json:"clientOrgId"`
		ServerOrgID   string     `json:"serverOrgId"`
	}
	if err := json.Unmarshal(q.Item, &item); err != nil || item.InteractionID == "" {
		return submit.Found{Kind: submit.Nothing}
	}
	t, err := a.tokensOf(holder{q.TenantID, q.OrganisationID})
	if err != nil {
		return submit.Found{Kind: submit.Nothing}
	}
	ctx, cancel := context.WithTimeout(ctx, a.cfg.Lookup)
	defer cancel()
	for _, fresh := range []bool{false, true} {
		token, err := t.get(ctx, fresh)
		if err != nil {
			return submit.Found{Kind: submit.Nothing}
		}
		answer, err := a.lookup(ctx, item.InteractionID, token)
		if err != nil {
			return submit.Found{Kind: submit.Nothing}
		}
		if answer.Status != http.StatusUnauthorized {
			return found(answer, item.Role)
		}
	}
	return submit.Found{Kind: submit.Nothing, Answer: evidence.Answer{Status: http.StatusUnauthorized}}
}

func (a *Adapter) lookup(ctx context.Context, id, token string) (evidence.Answer, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, a.url(reportPaths[Private]+"/"+url.PathEscape(id)), nil)
	if err != nil {
		return evidence.Answer{}, err
	}
	req.Header.Set("Accept", "application/json")
	req.Header.Set("Authorization", "Bearer "+token)
	res, err := a.lookups.Do(req)
	if err != nil {
		return evidence.Answer{}, unURL(err)
	}
	defer func() { _ = res.Body.Close() }()
	body, err := io.ReadAll(io.LimitReader(res.Body, mostLookupBytes))
	if err != nil {
		return evidence.Answer{}, err
	}
	return evidence.Answer{Status: res.StatusCode, Raw: body, ServerDate: serverDate(res.Header)}, nil
}

// found reads an answer (contract section 5.7). Older versions of the platform
// show every submitted field, the role among them; newer ones do not.
func found(answer evidence.Answer, role event.Role) submit.Found {
	f := submit.Found{Kind: submit.Nothing, Answer: answer}
	if answer.Status == http.StatusNotFound {
		if ownNotFound(answer.Raw) {
			f.Kind = submit.Absent
		}
		return f
	}
	var model struct {
		ReportID       string     `json:"reportId"`
		PairedReportID string     `json:"pairedReportId"`
		Status         string     `json:"status"`
		CreatedAt      string     `json:"createdAt"`
		Role           event.Role `json:"role"`
	}
	if answer.Status != http.StatusOK || json.Unmarshal(answer.Raw, &model) != nil {
		return f
	}
	id, err := event.ParseID(model.ReportID)
	created, timeErr := time.Parse(time.RFC3339Nano, model.CreatedAt)
	if err != nil || timeErr != nil || model.Status == "" {
		return f
	}
	f.Kind, f.ReportID, f.Status, f.CreatedAt = submit.Hit, id, evidence.Status(model.Status), created
	f.PairedID, _ = event.ParseID(model.PairedReportID)
	f.Ours = model.Role != "" && model.Role == role
	f.Settled = model.Status != "ACCEPTED"
	f.Paired = model.Status == "PAIRED" || model.Status == "PAIRED_INCONSISTENT" || !f.PairedID.IsZero()
	f.Discarded = model.Status == "DISCARDED"
	return f
}

// ownNotFound reports the platform's own 404: a message, and at most a request
// id beside it. A proxy's page proves nothing.
func ownNotFound(body []byte) bool {
	var fields map[string]json.RawMessage
	if json.Unmarshal(body, &fields) != nil || fields["message"] == nil {
		return false
	}
	delete(fields, "message")
	delete(fields, "request_id")
	return len(fields) == 0
}
