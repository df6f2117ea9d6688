package vocabulary

// How tells how a name was found in a vocabulary.
type How uint8

const (
	// NotFound: the vocabulary does not have the gene.
	NotFound How = iota
	// BySymbol: the name is the vocabulary's own.
	BySymbol
	// ByID: the name is an Ensembl id, whose symbol the vocabulary has.
	ByID
	// ByNewSymbol: the name is the gene's approved symbol, and the vocabulary has
	// another one of it.
	ByNewSymbol
	// ByIDRenamed: the name is an Ensembl id, and the vocabulary has a symbol that
	// the gene had before, or got later.
	ByIDRenamed
	// ByOldSymbol: the name is a previous symbol of the gene.
	ByOldSymbol
)

// isID tells whether the name was an Ensembl id.
func (h How) isID() bool { return h == ByID || h == ByIDRenamed }

// rank says which of two columns has a token: 0 for the vocabulary's own names,
// and ids with these, then identities, then what a gene was called before.
func (h How) rank() int {
	switch h {
	case BySymbol, ByID:
		return 0
	case ByNewSymbol, ByIDRenamed:
		return 1
	}
	return 2
}

// Find finds one gene: by symbol, exactly; by human Ensembl id, with or without
// a version ("ENSG00000167286", "ENSG00000167286.9", "ENSG00000124333.16_PAR_Y");
// or by another symbol that HGNC approves for the same gene or approved before.
// Symbols that several genes had are not taken, nor are aliases.
func (v *Vocabulary) Find(name string) (token int32, how How) {
	if token = v.Token(name); token != Unknown {
		return token, BySymbol
	}
	if name == "" {
		return Unknown, NotFound
	}
	if number, is := humanID(name); is {
		symbol := ensembl().byID[number]
		if token = v.Token(symbol); token != Unknown {
			return token, ByID
		}
		g := hgnc().byID[number]
		if g == nil && symbol != "" {
			g = hgnc().named(symbol)
		}
		if token = v.tokenOf(g); token != Unknown {
			return token, ByIDRenamed
		}
		return Unknown, NotFound
	}
	if g := hgnc().bySymbol[name]; g != nil {
		if token = v.tokenOf(g); token != Unknown {
			return token, ByNewSymbol
		}
	} else if g := hgnc().byPrevious[name]; g != nil {
		if token = v.tokenOf(g); token != Unknown {
			return token, ByOldSymbol
		}
	}
	return Unknown, NotFound
}

// tokenOf finds the vocabulary's symbol of a gene: the approved one before
// GENCODE's, and that before the previous ones.
func (v *Vocabulary) tokenOf(g *gene) int32 {
	if g == nil {
		return Unknown
	}
	if token := v.Token(g.symbol); token != Unknown {
		return token
	}
	if g.id != 0 {
		// GENCODE's symbol is the gene's own unless HGNC has given it to another since.
		symbol := ensembl().byID[g.id]
		if other := hgnc().bySymbol[symbol]; other == nil || other == g {
			if token := v.Token(symbol); token != Unknown {
				return token
			}
		}
	}
	for symbol := range symbolsIn(g.previous) {
		if token := v.Token(symbol); token != Unknown {
			return token
		}
	}
	return Unknown
}
