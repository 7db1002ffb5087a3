package denylist

import (
	"testing"
)

// The numbers in this file are made up; only their check digits are right.
var hits = map[Kind][]string{
	CPF: {
		"123.456.789-09", "12345678909", "123456789-09", "123456789/09", "123 456 789 09", "123.456.789/09",
		"cpf=12345678909", "cpf12345678909", "CPF:12345678909", "user_12345678909", "customer-12345678909",
		"12345678909.json", "1,12345678909,3", "<v>12345678909</v>", "é12345678909", "x123.456.789-09y",
		"123.456.789-09/111.444.777-35", "/customers/11144477735/accounts", "[12345678909]", "-12345678909",
	},
	CNPJ: {
		"12.345.678/0001-95", "12345678000195", "12345678/0001-95", "12 345 678 0001 95", "12.345.678-0001-95",
		"00000000000191", "00.000.000/0001-91", "12.ABC.345/01DE-35", "12.abc.345/01de-35", "CNPJ12.345.678/0001-95",
		"cnpj 12ABC34501DE35", "CNPJ: 12abc34501de35", "cnpj='12ABC34501DE35'",
	},
	Card: {
		"4111111111111111", "4111 1111 1111 1111", "4111-1111-1111-1111", "378282246310005", "3782 822463 10005",
		"30569309025904", "3056 930902 5904", "5555555555554444", "2223003122003222", "6011111111111117",
		"3530111333300000", "6062825624254001", "6362970000457013", "5067310000000010", "4222222222222",
		"card 4111 1111 1111 1111 12/28", "pan:4111111111111111;",
	},
	Phone: {
		"+5511987654321", "+55 11 98765-4321", "+55 (11) 98765-4321", "+55 (11) 9 8765-4321", "+551132654321",
		"+55-11-98765-4321", "+55.11.98765.4321", "5511987654321", "(11) 98765-4321", "(11)987654321",
		"(011) 98765-4321", "(11) 3265-4321", "11 98765-4321", "11-98765-4321", "11.98765-4321", "11 9 8765-4321",
		"011 98765-4321", "11 3265-4321", "55 98765-4321", "55 9 8765-4321", "55 11 98765-4321", "tel 11987654321",
		"Telefone: 1132654321", "celular=11987654321", "pix: 11987654321", "whatsapp 11 987654321", "tel: 5511987654321",
	},
	Account: {
		"ag 1234 cc 12345-6", "conta: 12345-6", "conta corrente 12345-6", "conta corrente no. 12345-6", "c/c 12345-6",
		"C/C: 12.345-6", "account 12345-6", "account number 123456", "account no: 123456", "Conta: 123456",
		"conta poupanca 12345-x", "conta salario: 98765-4", "acct #123456", "ag: 1234", "ag. 1234", "agencia 1234", "AGÊNCIA 1234", "Conta Poupança nº 12345-6", "conta bancária: 123456",
		"agencia 1234-5", "branch 1234 account 123456", "ag 1234-5, conta 12345678", "branch=1234", "conta_12345-6",
	},
	PIX: {"00020126330014br.gov.bcb.pix0111123456789095204000053039865802BR5905MARIA6009SAO PAULO"},
	Email: {
		"maria@example.com", "maria.silva+tag@mail.example.com.br", "<maria@example.com>", "to:maria@example.com,",
		"joão@exemplo.com.br", "maria@exâmplo.com", "m@x.io.", "git@github.com:org/repo", "maria@example.com@x",
		"o'neill@example.com", `\nmaria@example.com`,
	},
	IP: {
		"203.0.113.7", "10.0.0.1", "192.168.1.20", "dial tcp 203.0.113.7:443: refused", "[2001:db8::1]:443",
		"2001:db8::1", "2001:db8:0:0:0:0:0:1", "fe80::1%eth0", "::ffff:203.0.113.7", "peer 2001:db8::1: reset",
		"addr:2001:db8::1", "203.0.113.7-203.0.113.9", "ip/203.0.113.7.", "203.0.113.7/32", "64:ff9b::203.0.113.7",
	},
	JWT: {
		jwt, "Bearer " + jwt, "id_token=" + jwt + "&x=1", jwt[:len(jwt)-10], "x." + jwt, "jwt_" + jwt, jwtCut,
		"eyJhbGciOiJub25lIn0.eyJzdWIiOiIxIn0.", "eyAiYWxnIjogIm5vbmUiIH0.eyJzdWIiOiIxIn0.c2ln",
	},
	Bearer: {
		"Bearer abcdef0123", "authorization: bearer abcdef0123456789", "BEARER aB3.-_~+/==", "Bearer\tabcdef0123",
		"Bearer abcdefghijklmnopqrstABCDEFG",
	},
	PrivateKey: {
		"-----BEGIN PRIVATE KEY-----\nMIIB\n-----END PRIVATE KEY-----", "-----BEGIN RSA PRIVATE KEY-----",
		"x -----BEGIN ENCRYPTED PRIVATE KEY----- MIIB", `"-----BEGIN EC PRIVATE KEY-----\nMIIB\n"`,
	},
	Secret: {
		"password=hunter2", "PASSWORD = 'hunter2'", "https://h/p?client_secret=abc&x=1", "host=h password=p dbname=d",
		"senha=1234", "X-Api-Key: 0a1b2c3d4e", "secret: s3cr3tvalue", "postgres://app:hunter2@db/x", `token="abc"`,
		"access_token=abc", "amqp://u:p%40ss@h", "Basic dXNlcjpwYXNzd29yZA==", "basic dXNlcjpwYXNzd29yZA",
	},
	DeniedKey: {
		`{"name":"Maria"}`, `{"a":{"nome" : "Maria"}}`, `{\"name\":\"Maria\"}`, `{"address":{"street":"X"}}`,
		`{"account":12345}`, `{"endereço":"Rua X"}`, `{"name":"Mar`, `..."consentId":"urn:bank:C1"`, `{"ip":["a"]}`,
	},
}

const (
	jwt    = "eyJhbGciOiJQUzI1NiIsInR5cCI6IkpXVCJ9.eyJzdWIiOiIxMjM0In0.c2lnbmF0dXJlLXNpZ25hdHVyZQ"
	jwtCut = "eyJhbGciOiJQUzI1NiIsInR5cCI6IkpXVCJ9.eyJzdWIiOiIxMjM0NTY3ODkwIn0"
)

func TestFindHits(t *testing.T) {
	t.Parallel()
	for want, texts := range hits {
		t.Run(string(want), func(t *testing.T) {
			t.Parallel()
			for _, s := range texts {
				if got, ok := Find(s); !ok || got != want {
					t.Errorf("Find(%q): got %q, want %q", s, got, want)
				}
				if got, _ := Bytes([]byte(s)); got != want {
					t.Errorf("Bytes(%q): got %q, want %q", s, got, want)
				}
			}
		})
	}
}

var misses = map[string][]string{
	"nothing much": {"", " ", "a", "batch.sent", "submit_unconfirmed", "pcm-ofb", "2 items in 14.5ms", "ação", "a=b"},
	"ids of ours": {
		"0198f3c2-7b1a-7c3d-9e4f-123456789012", "01J9ZQ3XW4T5R6Y7H8K9M0N1P2", "urn:uuid:0198f3c2-7b1a-7c3d-9e4f-123456789012",
		"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01", "00-12345678901234567890123456789012-4111111111111111-01",
		"80f198ee56343ba864fe8b2a57d3eff7-4111111111111111-1", "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
		"sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855", "NjE5MDUxNTI6MjA=", "MTIzNDU2Nzg5MDk6MjA=",
	},
	"times": {
		"2026-10-14T12:34:56Z", "2026-10-14T12:34:56.123456789-03:00", "2026-10-14 12:34:56.123456", "20261014123456",
		"20261014T123456Z", "1791979200", "1791979200123", "1791979200123456", "1791979200123456789", "12:34:56", "14/10/2026",
	},
	"positions and sizes": {"16/B374D848", "0/1234567", "298759904", "9223372036854775807", "0.12345678909", "1.12345678909e5"},
	"subjects, templates": {
		"interactions.acme.ofb", "p.12.events.acme.ofb.consent.advanced", "events.acme.ofb.account.12345", "$JS.ACK.EVENTS.pcm-ofb.1.2.3.1791979200123456789.0",
		"/open-banking/accounts/v2/accounts/{accountId}", "GET /open-banking/consents/v3/consents/{consentId}", "events.*.>",
	},
	"versions": {
		"v1.2.3.4", "version 1.2.3.4", "versão 1.2.3.4", "1.2.3", "1.2.3.4.5", "1.3.6.1.4.1.311", "2.5.4.97=x", "1.2.3.4-rc1",
		"Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/120.0.0.0 Safari/537.36",
		"github.com/nats-io/nats.go@v1.55.0", "pkg@v0.0.0-20250509230407-a9884f6bd75a", "img@sha256:e3b0c442", "v3.0.1+4.5.6.7b",
	},
	"hosts that are nobody's": {
		"127.0.0.1:4222", "127.1.2.3", "0.0.0.0", "[::1]:8080", "::", "10.0.0.0/8", "255.255.255.0", "224.0.0.1", "::ffff:127.0.0.1",
		"256.1.1.1", "01.02.03.04", "localhost:5432", "nats://127.0.0.1:4222",
	},
	"colons": {"aa:bb:cc:dd:ee:ff", "aa:bb:cc:dd:ee:ff:00:11", "std::vector", "abc::def", "Foo::42", "::42", "12:34::", "2001:db8::/32", "ff02::1"},
	"wrong check digits": {
		"123.456.789-10", "12345678910", "12.345.678/0001-96", "12345678000196", "12.ABC.345/01DE-36", "4111111111111112", "111.111.111-11",
		"00000000000", "00000000000000", "0000000000000000", "cnpj 12ABC34501DE36",
	},
	"digits inside something": {
		"a12345678909", "12345678909a", "1.123.456.789-09", "0.4111111111111111", "1234567890912345678909", "x4111111111111111",
		"1234-4111-1111-1111-1112", "12ABC34501DE35",
	},
	"not a phone": {
		"11987654321", "1132654321", "98765-4321", "2026-10-14 98765-4321", "14 2025-2026", "(12) 34567890 bytes", "+14155552671",
		"20 98765-4321", "(20) 98765-4321", "+55 20 98765-4321", "11 88765-4321", "+5511987654321234", "(1) 98765-4321", "telemetry 11987654321",
	},
	"not an account": {
		"account 12345", "branch 1234", "ag 1234", "conta 1234 eventos", "account: 0198f3c2-7b1a", "account: 12345678-1234-4123", "branch main",
		"accounts 12345-6x7", "discount 12345-6", "contato 12345-6", "account",
	},
	"not an address": {"@", "a@", "@b.c", "a@b", "user@host", "@scope/pkg.name", "a @ b.com", "a@b.c", "x@1.2"},
	"not a token": {
		"bearer of bad news", "bearer token missing", "Bearer realm=x", "basic authentication", "eyes.on.you", "example.com.br",
		"eyJhbGciOiJub25lIn0", "token: not found", "token: expired", "secret: missing", "the token=", "password=***", "token={token}",
		"token_type=Bearer", "-----BEGIN CERTIFICATE-----", "https://host/a:b@c", "https://h:443/", "basic plan",
	},
	"members that tell nothing": {
		`{"name":null}`, `{"name":""}`, `{"email":true}`, `{"name":"[redacted:key]"}`, `{"event":"batch.sent","tenant_id":"acme"}`, `"name"`,
		`{"address":{}}`, `"name" is required`, `{"emails":[]}`,
	},
	"marks": {"[redacted:cpf]", "conta: [redacted:account]", "password=[redacted:secret]", "https://[redacted:secret]@h.example.com"},
}

func TestFindMisses(t *testing.T) {
	t.Parallel()
	for name, texts := range misses {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for _, s := range texts {
				if got, ok := Find(s); ok {
					t.Errorf("Find(%q): got %q, want no hit", s, got)
				}
				if got := Redact(s); got != s {
					t.Errorf("Redact(%q): got %q, want it unchanged", s, got)
				}
			}
		})
	}
}
