package ltm

func (r *Report) DrawSeries(stem string) error { return nil }
