package denylist

import (
	"strings"
	"testing"
)

func TestKey(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		want  bool
		names string
	}{
		"people":            {true, "cpf cnpj cpfCnpj CPF customer_cpf cpf_hash CPFCliente cpfcliente documento document customerDocument document_number nome nomeCompleto nome_mae name fullName full-name first_name FirstName firstname surname razaoSocial username userName birth_date birthDate dateOfBirth data_nascimento titular tax_id C.P.F. cpfs name1 civilName otherDocuments companyCnpj cpfCnpjNumber"},
		"how to reach them": {true, "email e_mail e-mail eMail EMAIL emails customer_email emailAddress telefone phone phoneNumber phone_1 celular whatsapp endereco endereço ENDEREÇO address homeAddress street_address addressLine1 postalCode postCode cep CEP ｅｍａｉｌ"},
		"from where":        {true, "ip clientIp client_ip clientIP ip_address ipAddress remote_addr ipv4 client_ipv6 x-forwarded-for x-fapi-customer-ip-address"},
		"accounts":          {true, "conta conta_corrente numeroConta agencia agência branch branchCode account accountNumber account_id debtorAccount accounts pix pixKey chave_pix cardNumber card credit_card cartao cartão iban pan cvv"},
		"secrets":           {true, "password passwd senha secret clientSecret client_secret token access_token accessToken id_token refresh-token authorization Authorization proxy-authorization private_key privateKey apiKey x-api-key api_key cookie Set-Cookie credentials signing_key userpassword"},
		"what they agreed":  {true, "consentId consent_id consentid recurringConsentId additionalInfo.consentId enrollmentId"},
		"of the runtime":    {false, "tenant_id event_id batch_id event consumer subject stream reason state tenantId eventId level time message error code lane took attempt traceparent trace_id lsn owner idempotency_key correlation_id aggregate_id report_id organisation_id fapiInteractionId clientOrgId serverOrgId"},
		"names of things":   {false, "service_name service.name consumer_name streamName host.name file_name table_name event_name metric_name hostname filename rename namespace names db.name"},
		"about a secret":    {false, "token_endpoint token_type token_expires_at tokenCount secret_ref secret_refs secret_version password_changed_at credential_ref email_count document_type accountType phone_type"},
		"other words":       {false, "tcpflags scalpel pipeline ship tip recipe description subscription branches accountable discard scorecards encounter contagem conteudo keys key hashed peer_address server.address statusCode httpMethod endpoint endpointUriPrefix timestamp processTimespan role additionalInfo"},
		"odd":               {false, "_ - . 1 123 é"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for n := range strings.FieldsSeq(c.names) {
				if got := Key(n); got != c.want {
					t.Errorf("Key(%q): got %v, want %v", n, got, c.want)
				}
			}
		})
	}
}

func TestKeyOfAnyForm(t *testing.T) {
	t.Parallel()
	for _, n := range []string{"", strings.Repeat("a_", 500), strings.Repeat("é", 500), strings.Repeat("A", 500), "\xff\xfe"} {
		if Key(n) {
			t.Errorf("Key(%.20q): got true, want false", n)
		}
	}
	if long := strings.Repeat("x_", 500) + "cpf"; !Key(long) {
		t.Errorf("Key of a long name that ends in cpf: got false, want true")
	}
}

// The table of technical names answers faster, not otherwise.
func TestTechnicalNamesAreNotExceptions(t *testing.T) {
	t.Parallel()
	for n := range technical {
		if _, ok := classOf(n); ok {
			t.Errorf("%q: got denied by its words, want a technical name that is not", n)
		}
	}
}

// Whatever is denied stays denied in each case style.
func TestKeyInEachStyle(t *testing.T) {
	t.Parallel()
	for n := range names {
		parts := strings.Split(n, "_")
		camel := parts[0]
		for _, p := range parts[1:] {
			camel += strings.ToUpper(p[:1]) + p[1:]
		}
		for _, form := range []string{n, strings.ToUpper(n), camel, strings.ToUpper(camel[:1]) + camel[1:],
			strings.ReplaceAll(n, "_", "-"), strings.ReplaceAll(n, "_", "."), strings.ReplaceAll(n, "_", ""), "_" + n + "_"} {
			if !Key(form) {
				t.Errorf("Key(%q): got false, want true as for %q", form, n)
			}
		}
	}
}
