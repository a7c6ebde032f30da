-- grain: order x urgency x regime of a prediction
-- reads: predicted (of the date, before), made (now)
-- gives: everything of both, a prediction that is there already once, as it was first made
SELECT * FROM predicted
UNION ALL BY NAME
SELECT * FROM made WHERE prediction NOT IN (SELECT prediction FROM predicted)
ORDER BY predicted_at, prediction, line, urgency, regime
