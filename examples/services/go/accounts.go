// go run accounts.go 127.0.0.1:9000
//
// A little bank over HTTP, of the standard library alone: POST /accounts, POST /transfers,
// GET /accounts, GET /accounts/ada, GET /total. It knows nothing of quorums.
package main

import (
	"encoding/json"
	"fmt"
	"log"
	"net"
	"net/http"
	"os"
	"regexp"
	"sort"
	"sync"
)

type account struct {
	Name    string `json:"name"`
	Balance int64  `json:"balance"`
}

type transfer struct {
	From   string `json:"from"`
	To     string `json:"to"`
	Amount int64  `json:"amount"`
}

type problem struct {
	Error string `json:"error"`
}

type bank struct {
	sync.Mutex
	accounts map[string]*account
}

var named = regexp.MustCompile(`^[a-z0-9-]{1,63}$`).MatchString

func (b *bank) open(w http.ResponseWriter, r *http.Request) {
	var asked account
	if json.NewDecoder(r.Body).Decode(&asked) != nil || !named(asked.Name) || asked.Balance < 0 {
		answer(w, 400, problem{"an account has a name and a balance in cents"})
	} else if b.accounts[asked.Name] != nil {
		answer(w, 409, problem{"there is an account of that name"})
	} else {
		b.accounts[asked.Name] = &asked
		w.Header().Set("Location", "/accounts/"+asked.Name)
		answer(w, 201, asked)
	}
}

func (b *bank) transfer(w http.ResponseWriter, r *http.Request) {
	var asked transfer
	if json.NewDecoder(r.Body).Decode(&asked) != nil || asked.Amount <= 0 {
		answer(w, 400, problem{"a transfer has from, to and an amount in cents"})
		return
	}
	from, to := b.accounts[asked.From], b.accounts[asked.To]
	if from == nil || to == nil {
		answer(w, 404, problem{"there is no such account"})
	} else if from.Balance < asked.Amount {
		answer(w, 409, problem{"there is not so much"})
	} else {
		from.Balance -= asked.Amount
		to.Balance += asked.Amount
		answer(w, 200, asked)
	}
}

// A map has no order in Go, and each walk another one: what is listed is sorted.
func (b *bank) list(w http.ResponseWriter, _ *http.Request) {
	all := []account{}
	for _, one := range b.accounts {
		all = append(all, *one)
	}
	sort.Slice(all, func(i, j int) bool { return all[i].Name < all[j].Name })
	answer(w, 200, all)
}

func (b *bank) read(w http.ResponseWriter, r *http.Request) {
	if one := b.accounts[r.PathValue("name")]; one != nil {
		answer(w, 200, *one)
	} else {
		answer(w, 404, problem{"there is no such account"})
	}
}

func (b *bank) total(w http.ResponseWriter, _ *http.Request) {
	var total int64
	for _, one := range b.accounts {
		total += one.Balance
	}
	answer(w, 200, map[string]int64{"accounts": int64(len(b.accounts)), "total": total})
}

func (b *bank) reset(w http.ResponseWriter, _ *http.Request) {
	clear(b.accounts)
	answer(w, 200, map[string]int{"accounts": 0})
}

func answer(w http.ResponseWriter, status int, value any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	if err := json.NewEncoder(w).Encode(value); err != nil {
		log.Print(err)
	}
}

func main() {
	b := &bank{accounts: map[string]*account{}}
	mux := http.NewServeMux()
	mux.HandleFunc("POST /accounts", b.open)
	mux.HandleFunc("POST /transfers", b.transfer)
	mux.HandleFunc("GET /accounts", b.list)
	mux.HandleFunc("GET /accounts/{name}", b.read)
	mux.HandleFunc("GET /total", b.total)
	mux.HandleFunc("POST /internal/reset", b.reset)
	listener, err := net.Listen("tcp", os.Args[1])
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println("accounts at", os.Args[1])
	log.Fatal(http.Serve(listener, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		b.Lock()
		defer b.Unlock()
		mux.ServeHTTP(w, r)
	})))
}
