package sentence

import "github.com/se600m/se600m-go/gocore/expression"

// Look tells what [Worker.Tokenize] would see in a cell, without writing its
// sentence. Length is 0.
func (p *Plan) Look(row *expression.Row) Cell {
	cell := p.judge(row)
	values := row.Values[:len(row.Columns)]
	for i, column := range row.Columns {
		if p.places[column] == absent {
			continue
		}
		cell.NExpressed++
		cell.ValidTotal += float64(values[i])
	}
	return cell
}

// judge decides on the scale of a cell's values, over all genes of the data
// set, valid or not, as the reference does.
func (p *Plan) judge(row *expression.Row) Cell {
	cell := Cell{Scale: p.scale, Negative: row.Negative, Profile: expression.ProfileOf(row.Values)}
	cell.Judged = cell.Profile.Judge(row.Values)
	if cell.Scale == expression.Auto {
		cell.Scale = cell.Judged
	}
	return cell
}
