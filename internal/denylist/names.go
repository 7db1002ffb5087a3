package denylist

import "strings"

// class says what a name promises. Secrets are also looked for in plain text,
// as name=value.
type class int

const (
	personal class = iota
	secret
)

// where says in which place of a name its words forbid the value.
type where int

const (
	anywhere where = iota // customer_cpf, cpf_hash
	last                  // access_token, but not token_endpoint
	alone                 // name, but not service_name
)

type rule struct {
	where where
	class class
}

// holds says that words i to j-1 of n stand where the rule wants them.
func (r rule) holds(i, j, n int) bool {
	switch r.where {
	case alone:
		return i == 0 && j == n
	case last:
		return j == n
	default:
		return true
	}
}

// names maps each denied name, its words joined by underscores, to its rule.
// Names of several words are known in one word too: fullname, apikey.
var names = nameTable([]row{
	// People and companies.
	{anywhere, personal, "cpf cnpj cpfcnpj documento nome sobrenome apelido nickname surname nascimento birthday birthdate dob mae pai titular passaporte passport cnh ssn"},
	{anywhere, personal, "full_name first_name last_name middle_name given_name family_name social_name maiden_name mother_name father_name customer_name client_name holder_name owner_name payer_name payee_name creditor_name debtor_name beneficiary_name contact_name civil_name legal_name user_name person_name company_name trade_name razao_social"},
	{anywhere, personal, "birth_date date_of_birth birth_day document_number document_id tax_id national_id identity_number logged_user"},
	{last, personal, "document documents identification"},
	{alone, personal, "name rg contact contato usuario mobile"},
	// Where they are reached.
	{anywhere, personal, "email e_mail mail_address telefone fone celular whatsapp phone mobile_number endereco logradouro cep"},
	{anywhere, personal, "street_address home_address postal_address mailing_address billing_address customer_address client_address address_line postal_code post_code zip_code"},
	{alone, personal, "address addresses street zip"},
	// From where they call.
	{anywhere, personal, "ipv ip_address ip_addr client_ip remote_ip source_ip peer_ip user_ip customer_ip real_ip remote_addr remote_address forwarded_for"},
	{alone, personal, "ip"},
	// Their accounts.
	{anywhere, personal, "conta agencia pix iban cartao cardholder cvv cvc account_number account_no account_id account_key account_holder bank_account branch_code branch_number branch_id pix_key chave_pix card_number card_no card_holder credit_card debit_card"},
	{last, personal, "account card"},
	{alone, personal, "accounts branch pan acct"},
	// What they agreed to: it lives in the sealed payload only.
	{anywhere, personal, "consent_id recurring_consent_id enrollment_id"},
	// What opens a door.
	{anywhere, secret, "password passwd passphrase senha secret authorization cookie otp jwt private_key client_secret client_assertion api_key access_key secret_key code_verifier"},
	{last, secret, "token signing_key encryption_key credential"},
	{alone, secret, "tokens credentials assertion pwd pin pem"},
})

// about are last words that make a name speak about the thing instead of
// holding it: token_type, email_count, password_changed_at, secret_ref.
var about = map[string]bool{
	"type": true, "kind": true, "count": true, "total": true, "ref": true, "refs": true, "reference": true,
	"version": true, "state": true, "status": true, "valid": true, "present": true, "length": true, "size": true,
	"expires": true, "expiry": true, "at": true, "endpoint": true, "policy": true, "result": true,
	"attempts": true, "seconds": true, "age": true,
}

type row struct {
	where where
	class class
	names string
}

func nameTable(rows []row) map[string]rule {
	t := make(map[string]rule)
	for _, r := range rows {
		for name := range strings.FieldsSeq(r.names) {
			t[name] = rule{r.where, r.class}
			t[strings.ReplaceAll(name, "_", "")] = rule{r.where, r.class}
		}
	}
	return t
}
