package pybind

import (
	"errors"
	"fmt"
)

// kind is a kind of job: it reads a request and prepares the work.
type kind struct {
	// request makes an empty request, for tests.
	request func() any
	prepare func(requestJSON string) (work, error)
}

// of makes a kind of job of the type of its requests.
func of[R any, request interface {
	*R
	work() (work, error)
}]() kind {
	return kind{
		request: func() any { return new(R) },
		prepare: func(requestJSON string) (work, error) {
			r := request(new(R))
			if err := fromJSON(requestJSON, r); err != nil {
				return nil, err
			}
			return r.work()
		},
	}
}

var kinds = map[string]kind{
	"attention":       of[attentionRequest](),
	"contextual":      of[contextualRequest](),
	"convert":         of[convertRequest](),
	"decode":          of[decodeRequest](),
	"embed":           of[embedRequest](),
	"embed_sentences": of[embedSentencesRequest](),
	"fail":            of[failRequest](),
	"gene_embeddings": of[geneEmbeddingsRequest](),
	"nearest":         of[nearestRequest](),
	"plan":            of[planRequest](),
	"survey":          of[surveyRequest](),
	"tokenize":        of[tokenizeRequest](),
	"trace":           of[traceRequest](),
	"vote":            of[voteRequest](),
}

// Start begins a job of some kind and returns its handle. The type of each
// kind's requests says what it does and takes. Requests that make no sense fail
// here or in [Finish].
func Start(kind, requestJSON string) (handle int64, err error) {
	defer export(&err)
	k, known := kinds[kind]
	if !known {
		return 0, fmt.Errorf("pybind: a job of kind %q: %w", kind, errRequest)
	}
	w, err := k.prepare(requestJSON)
	switch {
	case errors.Is(err, errRequest):
		return 0, fmt.Errorf("pybind: %s: %w", kind, err)
	case err != nil:
		return 0, err
	}
	return begin(w), nil
}
