// Package ofb speaks to the metrics platform (PCM) of Open Finance Brasil.
//
// Manual:  integration manual v12 (2026-03-16), OpenAPI 4.0.0, release 2026C.
// Limits:  5,000 reports and 10 MB a request, 300 requests a second, reports of
//
//	up to 7 days of age; a token lives for 6 hours and is had by mTLS on the
//	auth host only, reports travel by Bearer token over ordinary TLS.
//
// Promise: Submit sends once. What it says was never sent was not; what it says
//
//	is a receipt is one; all else is unknown.
//
// State:   one token an organisation.
// Failure: outcomes of submit; see docs/outcomes.md.
//
// Private reports and reports of open data (Config.APIs) so far: what belongs to
// another API is ineligible:api_not_enabled. Of open data only the server reports,
// nothing pairs it, and nothing can be asked about it.
package ofb
