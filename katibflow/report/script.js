(() => {
  const figures = JSON.parse(document.getElementById("plot-data").textContent);
  const settings = {responsive: true, displaylogo: false,
    modeBarButtons: [["toImage", "zoom2d", "pan2d", "resetScale2d"]]};
  const draw = async (figure) => {
    const element = document.getElementById(figure.id);
    try {
      await Plotly.newPlot(element, figure.data, figure.layout, settings);
    } catch (error) {
      element.textContent = "This plot could not be drawn: " + error;
    }
  };
  figures.forEach(draw);
})();
