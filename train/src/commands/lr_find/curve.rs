const WIDTH: usize = 64;
const HEIGHT: usize = 14;

/// Draws losses over rates, whose axis is logarithmic, with the suggested rate marked.
pub(super) fn draw(points: &[(f64, f64)], suggestion: f64) -> String {
    let logs = |rate: f64| rate.ln();
    let (Some(first), Some(last)) = (points.first(), points.last()) else { return String::new() };
    let (left, right) = (logs(first.0), logs(last.0).max(logs(first.0) + 1e-9));
    let low = points.iter().map(|point| point.1).fold(f64::INFINITY, f64::min);
    let high = points.iter().map(|point| point.1).fold(f64::NEG_INFINITY, f64::max).max(low + 1e-9);
    let column = |rate: f64| {
        let share = (logs(rate) - left) / (right - left);
        (share.clamp(0.0, 1.0) * (WIDTH - 1) as f64).round() as usize
    };
    let row = |loss: f64| ((high - loss) / (high - low) * (HEIGHT - 1) as f64).round() as usize;
    let mut cells = vec![vec![' '; WIDTH]; HEIGHT];
    for line in &mut cells {
        line[column(suggestion)] = ':';
    }
    for &(rate, loss) in points {
        cells[row(loss)][column(rate)] = '*';
    }
    let mut text = String::new();
    for (index, line) in cells.iter().enumerate() {
        let label = match index {
            0 => format!("{high:8.3}"),
            last if last == HEIGHT - 1 => format!("{low:8.3}"),
            _ => " ".repeat(8),
        };
        text += format!("{label} |{}", line.iter().collect::<String>()).trim_end();
        text.push('\n');
    }
    let (first, last) = (format!("{:.1e}", first.0), format!("{:.1e}", last.0));
    let gap = WIDTH.saturating_sub(first.len());
    text += &format!("{:10}{first}{last:>gap$}\n", "");
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ends_and_lowest_point_are_where_they_belong() {
        let text = draw(&[(1e-4, 4.0), (1e-3, 2.0), (1e-1, 3.0)], 1e-3);
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines.len(), HEIGHT + 1);
        assert!(lines[0].starts_with("   4.000 |*"), "{text}");
        assert!(lines[HEIGHT - 1].starts_with("   2.000 |") && lines[HEIGHT - 1].ends_with('*'));
        // A third of the axis, in the logarithm.
        let left = "   2.000 |".len();
        assert_eq!(lines[HEIGHT - 1].find('*'), Some(left + 21));
        assert_eq!(lines[HEIGHT / 2].find('*'), Some(left + 63));
        assert_eq!(lines[3].find(':'), Some(left + 21));
        assert!(lines[HEIGHT].contains("1.0e-4") && lines[HEIGHT].ends_with("1.0e-1"));
    }
}
